//! Groups: from names to the addresses of object headers.

use super::super::VectorFileError;
use super::super::source::Fields;
use super::object::{File, NOWHERE, kind};
use std::collections::BTreeMap;

/// Most members of a group that are listed, and deepest tree of them.
const MAX_MEMBERS: u64 = 1 << 16;
const MAX_DEPTH: u8 = 16;
/// Longest table of names, and longest name in one, bytes. Names may lie in each other, so that a short table makes
/// many long ones.
const MAX_NAMES: u64 = 1 << 26;
const MAX_NAME: usize = 1 << 10;

/// Address of the object that `path` leads to through groups.
pub(super) fn find(file: &File<'_>, path: &str) -> Result<u64, VectorFileError> {
    let mut address = file.root;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let members = members(file, address)?;
        let Some(&next) = members.get(name) else {
            let names: Vec<String> = members.into_keys().collect();
            return Err(file.source.no_part(format!("there is no {path}"), &names));
        };
        address = next;
    }
    Ok(address)
}

/// Names and addresses of what is in the group at `address`; an object that is no group has nothing in it. Links
/// that lead elsewhere are left out.
pub(super) fn members(file: &File<'_>, address: u64) -> Result<BTreeMap<String, u64>, VectorFileError> {
    let damaged = || file.source.damaged(format!("the group at byte {address} is damaged"));
    let (mut members, mut tables) = (BTreeMap::new(), 0);
    for message in file.messages(address)? {
        let mut fields = Fields(&message.body);
        match message.kind {
            kind::SYMBOLS => {
                // Each group has one; more would each be read whole.
                tables += 1;
                if tables > 1 {
                    return Err(damaged());
                }
                let (tree, heap) = (fields.u64().ok_or_else(damaged)?, fields.u64().ok_or_else(damaged)?);
                let names = names(file, heap)?;
                walk(file, tree, None, &names, &mut Found { members: &mut members, symbols: 0 })?;
            }
            kind::LINK => {
                if let Some((name, address)) = link(&message.body).ok_or_else(damaged)? {
                    members.insert(name, address);
                }
            }
            kind::LINK_INFO => {
                fields.bytes(1).ok_or_else(damaged)?;
                let flags = fields.u8().ok_or_else(damaged)?;
                fields.bytes(if flags & 1 != 0 { 8 } else { 0 }).ok_or_else(damaged)?;
                if fields.u64().ok_or_else(damaged)? != NOWHERE {
                    let reason = "a group's names are in a fractal heap; write it with h5py's defaults";
                    return Err(file.source.unsupported(reason));
                }
            }
            _ => {}
        }
    }
    Ok(members)
}

/// Name and address of a hard link; `Some(None)` for another kind of link.
fn link(body: &[u8]) -> Option<Option<(String, u64)>> {
    let mut fields = Fields(body);
    let (version, flags) = (fields.u8()?, fields.u8()?);
    if version != 1 {
        return None;
    }
    let of = if flags & 8 != 0 { fields.u8()? } else { 0 };
    fields.bytes(if flags & 4 != 0 { 8 } else { 0 })?;
    fields.bytes(if flags & 16 != 0 { 1 } else { 0 })?;
    let len = fields.uint(1 << (flags & 3))?;
    let name = String::from_utf8_lossy(fields.bytes(usize::try_from(len).ok()?)?).into_owned();
    if of == 0 { Some(Some((name, fields.u64()?))) } else { Some(None) }
}

/// The text of a local heap, in which symbols have their names.
fn names(file: &File<'_>, heap: u64) -> Result<Vec<u8>, VectorFileError> {
    let head = file.bytes(heap, 32, "a table of names")?;
    let mut fields = Fields(&head[8..]);
    let (Some(size), Some(_), Some(place)) = (fields.u64(), fields.u64(), fields.u64()) else {
        unreachable!()
    };
    if !head.starts_with(b"HEAP") || size > MAX_NAMES {
        return Err(file.source.damaged(format!("the table of names at byte {heap} is damaged")));
    }
    file.bytes(place, size, "a table of names")
}

/// What a walk through a tree of names has found.
struct Found<'a> {
    members: &'a mut BTreeMap<String, u64>,
    symbols: u64,
}

/// Adds the symbols below the B-tree node at `address`, which must be on level `level` when that is given.
///
/// Levels fall by one at each step, every node holds something and symbols are counted, so a tree that bites its own
/// tail ends too.
fn walk(
    file: &File<'_>,
    address: u64,
    level: Option<u8>,
    names: &[u8],
    found: &mut Found<'_>,
) -> Result<(), VectorFileError> {
    let damaged = || file.source.damaged(format!("the tree of names at byte {address} is damaged"));
    let head = file.bytes(address, 24, "a tree of names")?;
    let (here, entries) = (head[5], u64::from(u16::from_le_bytes([head[6], head[7]])));
    if !head.starts_with(b"TREE\0") || here > MAX_DEPTH || level.is_some_and(|level| here != level) {
        return Err(damaged());
    }
    if entries == 0 && level.is_some() {
        return Err(damaged());
    }
    // A key, then for each child its address and the next key; keys are not needed.
    let body = file.bytes(address.saturating_add(24), 8 + entries * 16, "a tree of names")?;
    for child in body[8..].chunks_exact(16) {
        let child = Fields(child).u64().ok_or_else(damaged)?;
        if here > 0 {
            walk(file, child, Some(here - 1), names, found)?;
        } else {
            symbols(file, child, names, found)?;
        }
    }
    Ok(())
}

/// Adds the symbols of one leaf.
fn symbols(
    file: &File<'_>,
    address: u64,
    names: &[u8],
    found: &mut Found<'_>,
) -> Result<(), VectorFileError> {
    let damaged = || file.source.damaged(format!("the symbols at byte {address} are damaged"));
    let head = file.bytes(address, 8, "symbols")?;
    let entries = u64::from(u16::from_le_bytes([head[6], head[7]]));
    if !head.starts_with(b"SNOD") || entries == 0 {
        return Err(damaged());
    }
    found.symbols += entries;
    if found.symbols > MAX_MEMBERS {
        return Err(damaged());
    }
    let body = file.bytes(address.saturating_add(8), entries * 40, "symbols")?;
    for entry in body.chunks_exact(40) {
        let mut fields = Fields(entry);
        let (Some(name), Some(object), Some(cache)) = (fields.u64(), fields.u64(), fields.u32()) else {
            return Err(damaged());
        };
        let text = usize::try_from(name).ok().and_then(|name| names.get(name..)).ok_or_else(damaged)?;
        let end = text.iter().take(MAX_NAME).position(|&byte| byte == 0).ok_or_else(damaged)?;
        // A link by name, which may lead anywhere.
        if cache == 2 {
            continue;
        }
        found.members.insert(String::from_utf8_lossy(&text[..end]).into_owned(), object);
    }
    Ok(())
}
