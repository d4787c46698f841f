//! The superblock, and object headers: lists of messages that describe a group or a data set.

use super::super::VectorFileError;
use super::super::source::{Fields, Source};

/// The address of what is not there.
pub(super) const NOWHERE: u64 = u64::MAX;

/// Most blocks of one object header, and most bytes of it: real ones have a handful and a few kilobytes.
const MAX_BLOCKS: usize = 64;
const MAX_HEADER: u64 = 1 << 20;

/// Kinds of messages.
pub(super) mod kind {
    pub(in super::super) const SPACE: u16 = 0x01;
    pub(in super::super) const LINK_INFO: u16 = 0x02;
    pub(in super::super) const TYPE: u16 = 0x03;
    pub(in super::super) const LINK: u16 = 0x06;
    pub(in super::super) const LAYOUT: u16 = 0x08;
    pub(in super::super) const FILTERS: u16 = 0x0b;
    pub(in super::super) const ATTRIBUTE: u16 = 0x0c;
    pub(in super::super) const CONTINUATION: u16 = 0x10;
    pub(in super::super) const SYMBOLS: u16 = 0x11;
}

/// One message of an object header.
pub(super) struct Message {
    pub(super) kind: u16,
    flags: u8,
    /// Where the body starts in the file.
    pub(super) at: u64,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// Whether the body only points to the real one.
    pub(super) fn is_shared(&self) -> bool {
        self.flags & 2 != 0
    }
}

/// An HDF5 file whose superblock was understood.
pub(super) struct File<'a> {
    pub(super) source: &'a Source,
    base: u64,
    /// Address of the root group's header.
    pub(super) root: u64,
}

impl<'a> File<'a> {
    pub(super) fn open(source: &'a Source) -> Result<Self, VectorFileError> {
        let head = source.take(0, 96.min(source.len()), "the superblock")?;
        let mut fields = Fields(&head);
        if fields.bytes(8) != Some(b"\x89HDF\r\n\x1a\n") {
            return Err(source.damaged("it does not start as an HDF5 file does"));
        }
        let cut =
            || source.require(0, 96, "the superblock").err().unwrap_or_else(|| source.damaged("superblock"));
        let version = fields.u8().ok_or_else(cut)?;
        let sizes = match version {
            0 | 1 => fields.bytes(4).and_then(|_| fields.bytes(2)),
            2 | 3 => fields.bytes(2),
            _ => {
                let reason = format!(
                    "version {version} of HDF5's superblock is not read; write it with h5py's defaults"
                );
                return Err(source.unsupported(reason));
            }
        };
        if sizes.ok_or_else(cut)? != [8, 8] {
            return Err(source.unsupported("addresses and lengths are not of 8 bytes; copy it with h5repack"));
        }
        // What stands between the sizes and the base address, then between that and the root group.
        let (skip, between) = match version {
            0 => (9, 24 + 8),
            1 => (13, 24 + 8),
            _ => (1, 16),
        };
        let mut number = |skip: usize| fields.bytes(skip).and_then(|_| fields.u64());
        let base = number(skip).ok_or_else(cut)?;
        let root = number(between).ok_or_else(cut)?;
        Ok(Self { source, base, root })
    }

    /// Where `address` is in the file; `None` when that cannot be.
    pub(super) fn place(&self, address: u64) -> Option<u64> {
        if address == NOWHERE { None } else { address.checked_add(self.base) }
    }

    /// `len` bytes at `address`.
    pub(super) fn bytes(&self, address: u64, len: u64, what: &str) -> Result<Vec<u8>, VectorFileError> {
        let place = self.place(address).ok_or_else(|| self.source.damaged(format!("{what} is nowhere")))?;
        self.source.take(place, len, what)
    }

    /// All messages of the object header at `address`, those in continuation blocks included.
    pub(super) fn messages(&self, address: u64) -> Result<Vec<Message>, VectorFileError> {
        let source = self.source;
        let damaged = || source.damaged(format!("the object header at byte {address} is damaged"));
        let head = self.bytes(address, 16, "an object header")?;
        let (second, flags, mut blocks) = if head.starts_with(b"OHDR") {
            let flags = head[5];
            let skip = if flags & 0x20 != 0 { 16 } else { 0 } + if flags & 0x10 != 0 { 4 } else { 0 };
            let width = 1 << (flags & 3);
            let size = self.bytes(address.saturating_add(6 + skip), width, "an object header")?;
            let size = Fields(&size).uint(size.len()).ok_or_else(damaged)?;
            (true, flags, vec![(address.saturating_add(6 + skip + width), size)])
        } else if head[0] == 1 {
            let size = u32::from_le_bytes(head[8..12].try_into().expect("four bytes"));
            (false, 0, vec![(address.saturating_add(16), u64::from(size))])
        } else {
            return Err(damaged());
        };
        let (mut messages, mut next, mut total) = (Vec::new(), 0, 0u64);
        while let Some(&(block, size)) = blocks.get(next) {
            next += 1;
            total = total.saturating_add(size);
            if blocks.len() > MAX_BLOCKS || total > MAX_HEADER {
                return Err(damaged());
            }
            let bytes = self.bytes(block, size, "an object header")?;
            let at = self.place(block).ok_or_else(damaged)?;
            let before = messages.len();
            parse(&bytes, at, second, flags, &mut messages).ok_or_else(damaged)?;
            for message in &messages[before..] {
                if message.kind == kind::CONTINUATION {
                    blocks.push(continuation(&message.body, second).ok_or_else(damaged)?);
                }
            }
        }
        Ok(messages)
    }
}

/// Messages of one block; `at` is its place in the file.
fn parse(bytes: &[u8], at: u64, second: bool, flags: u8, out: &mut Vec<Message>) -> Option<()> {
    let mut fields = Fields(bytes);
    let head = if second { 4 + if flags & 4 != 0 { 2 } else { 0 } } else { 8 };
    // What is left when no message fits is a gap.
    while fields.0.len() >= head {
        let kind = if second { fields.u8()?.into() } else { fields.u16()? };
        let size = fields.u16()?;
        let flags = fields.u8()?;
        fields.bytes(head - if second { 4 } else { 5 })?;
        let place = at + (bytes.len() - fields.0.len()) as u64;
        let body = fields.bytes(size.into())?.to_vec();
        out.push(Message { kind, flags, at: place, body });
    }
    Some(())
}

/// Address and length of the messages in a continuation block.
fn continuation(body: &[u8], second: bool) -> Option<(u64, u64)> {
    let mut fields = Fields(body);
    let (address, size) = (fields.u64()?, fields.u64()?);
    // From version 2 on a block starts with a signature and ends with a checksum, 4 bytes each.
    if second { Some((address.checked_add(4)?, size.checked_sub(8)?)) } else { Some((address, size)) }
}
