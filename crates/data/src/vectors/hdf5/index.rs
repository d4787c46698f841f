//! Where the chunks of a data set are.

use super::super::VectorFileError;
use super::super::source::Fields;
use super::object::{File, NOWHERE};

/// Deepest tree of chunks.
const MAX_DEPTH: u8 = 32;

/// One chunk in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    /// Byte where it starts.
    pub(super) at: u64,
    /// Bytes as stored.
    pub(super) size: u64,
    /// A bit for each filter that was left out.
    pub(super) skipped: u32,
}

/// The chunks of a grid of `down x across`, row-major, each `rows x columns` values; `None` while not found.
pub(super) struct Places<'a> {
    pub(super) name: &'a str,
    pub(super) found: Vec<Option<Chunk>>,
    pub(super) across: u64,
    pub(super) rows: u64,
    pub(super) columns: u64,
}

impl Places<'_> {
    fn damaged(&self, file: &File<'_>) -> VectorFileError {
        file.source.damaged(format!("the index of the chunks of {} is damaged", self.name))
    }

    /// Notes chunk `number`; each one only once.
    fn note(&mut self, file: &File<'_>, number: u64, chunk: Chunk) -> Result<(), VectorFileError> {
        let (Some(at), true) = (file.place(chunk.at), chunk.size > 0) else { return Err(self.damaged(file)) };
        file.source.require(at, chunk.size, &format!("chunk {number} of {}", self.name))?;
        match usize::try_from(number).ok().and_then(|number| self.found.get_mut(number)) {
            Some(free @ None) => {
                *free = Some(Chunk { at, ..chunk });
                Ok(())
            }
            _ => Err(self.damaged(file)),
        }
    }

    /// A version 1 B-tree: keys of stored size, skipped filters and the place of the chunk's first value.
    ///
    /// Levels fall by one at each step, nodes hold something and chunks come once, so the walk ends.
    pub(super) fn tree(
        &mut self,
        file: &File<'_>,
        address: u64,
        level: Option<u8>,
    ) -> Result<(), VectorFileError> {
        let head = file.bytes(address, 24, "a tree of chunks")?;
        let (found, entries) = (head[5], u64::from(u16::from_le_bytes([head[6], head[7]])));
        let sound =
            head.starts_with(b"TREE\x01") && found <= MAX_DEPTH && level.is_none_or(|level| found == level);
        if !sound || entries == 0 && level.is_some() {
            return Err(self.damaged(file));
        }
        // Sizes, then the place along both axes and within the value, then the child.
        const KEY: usize = 8 + 24;
        let body = file.bytes(address.saturating_add(24), entries * (KEY as u64 + 8), "a tree of chunks")?;
        for entry in body.chunks_exact(KEY + 8) {
            let mut fields = Fields(entry);
            let all = (fields.u32(), fields.u32(), fields.u64(), fields.u64(), fields.u64(), fields.u64());
            let (Some(size), Some(skipped), Some(row), Some(column), Some(_), Some(child)) = all else {
                return Err(self.damaged(file));
            };
            if found > 0 {
                self.tree(file, child, Some(found - 1))?;
                continue;
            }
            let whole =
                row % self.rows == 0 && column % self.columns == 0 && column / self.columns < self.across;
            let number =
                (row / self.rows).checked_mul(self.across).map(|first| first + column / self.columns);
            let Some(number) = number.filter(|_| whole) else { return Err(self.damaged(file)) };
            self.note(file, number, Chunk { at: child, size: size.into(), skipped })?;
        }
        Ok(())
    }

    /// Chunks of `size` bytes one after another.
    pub(super) fn implicit(
        &mut self,
        file: &File<'_>,
        address: u64,
        size: u64,
    ) -> Result<(), VectorFileError> {
        for number in 0..self.found.len() as u64 {
            let at = number.checked_mul(size).and_then(|skip| address.checked_add(skip));
            let at = at.ok_or_else(|| self.damaged(file))?;
            self.note(file, number, Chunk { at, size, skipped: 0 })?;
        }
        Ok(())
    }

    /// A fixed array: a header, then an entry a chunk, in pages when there are many.
    pub(super) fn fixed_array(
        &mut self,
        file: &File<'_>,
        address: u64,
        size: u64,
    ) -> Result<(), VectorFileError> {
        let head = file.bytes(address, 24, "an array of chunks")?;
        let mut fields = Fields(&head);
        let signature = fields.bytes(5) == Some(b"FAHD\0");
        let all = (fields.u8(), fields.u8(), fields.u8(), fields.u64(), fields.u64());
        let (Some(filtered), Some(width), Some(page), Some(entries), Some(block)) = all else {
            unreachable!()
        };
        let width = usize::from(width);
        let expected = if filtered == 1 { (13..=20).contains(&width) } else { width == 8 };
        if !signature || filtered > 1 || !expected || page > 32 || entries != self.found.len() as u64 {
            return Err(self.damaged(file));
        }
        if !file.bytes(block, 6, "an array of chunks")?.starts_with(b"FADB\0") {
            return Err(self.damaged(file));
        }
        let (per_page, mut place) = (1u64 << page, block.saturating_add(6 + 8));
        let paged = entries > per_page;
        if paged {
            // A bit for each page that was written, and a checksum. Unwritten pages would leave chunks out, which
            // is refused in any case.
            place = place.saturating_add(entries.div_ceil(per_page).div_ceil(8) + 4);
        }
        let mut number = 0;
        while number < entries {
            let count = if paged { per_page.min(entries - number) } else { entries };
            let body = file.bytes(place, count * width as u64, "an array of chunks")?;
            for entry in body.chunks_exact(width) {
                let mut fields = Fields(entry);
                let at = fields.u64().ok_or_else(|| self.damaged(file))?;
                let (size, skipped) = if filtered == 1 {
                    let sizes = (fields.uint(width - 12), fields.u32());
                    let (Some(size), Some(skipped)) = sizes else { return Err(self.damaged(file)) };
                    (size, skipped)
                } else {
                    (size, 0)
                };
                if at != NOWHERE {
                    self.note(file, number, Chunk { at, size, skipped })?;
                }
                number += 1;
            }
            place = place.saturating_add(count * width as u64 + 4);
        }
        Ok(())
    }

    /// One chunk that is everything.
    pub(super) fn single(&mut self, file: &File<'_>, chunk: Chunk) -> Result<(), VectorFileError> {
        if self.found.len() != 1 {
            return Err(self.damaged(file));
        }
        self.note(file, 0, chunk)
    }
}
