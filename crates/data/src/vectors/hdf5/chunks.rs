//! Rows out of chunks: a data set is cut into blocks of `rows x columns`, each packed by itself.

use super::super::file::Shape;
use super::super::grid::checked_dim;
use super::super::source::{Fields, Source};
use super::super::{Element, VectorFileError};
use super::filters::{Filter, undo};
use super::index::{Chunk, Places};
use super::object::{File, NOWHERE};
use std::sync::{Mutex, PoisonError};

/// Most bytes of the chunks beside each other that hold the same rows; h5py's own are about 1 MiB each.
const MAX_BAND: u64 = 1 << 30;

/// Deflate never makes less than a thousandth of its input.
const MOST_PACKING: u64 = 1032;

/// What the data set's header says.
pub(super) struct Chunked<'a> {
    pub(super) name: &'a str,
    pub(super) rows: u64,
    pub(super) dim: u64,
    pub(super) element: Element,
    pub(super) filters: Vec<Filter>,
    /// Version of the layout message.
    pub(super) version: u8,
}

/// A chunked data set.
pub(in super::super) struct Chunks {
    name: String,
    shape: Shape,
    filters: Vec<Filter>,
    /// Rows and columns of a chunk.
    rows: usize,
    columns: usize,
    across: usize,
    places: Vec<Chunk>,
    /// The band that was unpacked last: its number, and its rows with all columns.
    last: Mutex<Option<(usize, Vec<u8>)>>,
}

impl Chunks {
    /// Reads the rest of the layout message, and the index that it points to.
    pub(super) fn open(
        file: &File<'_>,
        set: &Chunked<'_>,
        mut fields: Fields<'_>,
    ) -> Result<Self, VectorFileError> {
        let source = file.source;
        let damaged = || source.damaged(format!("the layout of {} is damaged", set.name));
        let dim = checked_dim(source, set.dim)?;
        let layout = Layout::parse(source, set, &mut fields)?;
        let (rows, columns) = (layout.rows, layout.columns);
        let size = rows.checked_mul(columns).and_then(|values| values.checked_mul(set.element.size() as u64));
        let size = size.filter(|&size| size > 0).ok_or_else(damaged)?;
        let across = set.dim.div_ceil(columns);
        let count = set.rows.div_ceil(rows).checked_mul(across).ok_or_else(damaged)?;
        if size.checked_mul(across).is_none_or(|band| band > MAX_BAND) {
            return Err(source.unsupported(format!(
                "{}: chunks of {rows} x {columns} take more than {MAX_BAND} bytes a row of chunks; repack it: h5repack \
                 -l {}:CHUNK=1024x{dim} OLD NEW",
                set.name, set.name
            )));
        }
        // Each chunk takes 8 bytes of an index, or its own bytes: nobody makes chunks of fewer than 8, whose places
        // would take more memory than the file has bytes. And all hold no more than packing allows.
        let least = (count.saturating_mul(size) / MOST_PACKING).max(count.saturating_mul(8));
        if least > source.len() {
            return Err(source
                .damaged(format!("{}: {count} chunks of {size} bytes are more than the file", set.name)));
        }
        let mut places = Places { name: set.name, found: vec![None; count as usize], across, rows, columns };
        if count > 0 {
            layout.index(file, set, &mut places, size, fields)?;
        }
        let places = places.found.into_iter().enumerate().map(|(number, chunk)| {
            chunk.ok_or_else(|| source.damaged(format!("{}: chunk {number} was never written", set.name)))
        });
        Ok(Self {
            places: places.collect::<Result<_, _>>()?,
            name: set.name.to_owned(),
            shape: Shape {
                rows: usize::try_from(set.rows).map_err(|_| damaged())?,
                dim,
                element: set.element,
            },
            filters: set.filters.clone(),
            rows: rows as usize,
            columns: columns as usize,
            across: across as usize,
            last: Mutex::new(None),
        })
    }

    pub(in super::super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Fills `out`, whole rows, from row `first` on.
    pub(in super::super) fn fill(
        &self,
        source: &Source,
        first: usize,
        out: &mut [u8],
    ) -> Result<(), VectorFileError> {
        let row_bytes = self.shape.dim * self.shape.element.size();
        let (mut row, mut rest) = (first, out);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        while !rest.is_empty() {
            let band = row / self.rows;
            if last.as_ref().is_none_or(|(number, _)| *number != band) {
                *last = None;
                *last = Some((band, self.band(source, band)?));
            }
            let Some((_, bytes)) = &*last else { unreachable!() };
            let start = (row - band * self.rows) * row_bytes;
            let length = (bytes.len() - start).min(rest.len());
            let (head, tail) = rest.split_at_mut(length);
            head.copy_from_slice(&bytes[start..start + length]);
            row += length / row_bytes;
            rest = tail;
        }
        Ok(())
    }

    /// The rows of one row of chunks, side by side.
    fn band(&self, source: &Source, band: usize) -> Result<Vec<u8>, VectorFileError> {
        let size = self.shape.element.size();
        let row_bytes = self.shape.dim * size;
        let rows = self.rows.min(self.shape.rows - band * self.rows);
        let mut out = vec![0; rows * row_bytes];
        for across in 0..self.across {
            let number = band * self.across + across;
            let place = self.places[number];
            let stored = source.take(place.at, place.size, &format!("chunk {number} of {}", self.name))?;
            let bytes = undo(&self.filters, place.skipped, stored, self.rows * self.columns * size);
            let bytes =
                bytes.map_err(|why| source.damaged(format!("{}: chunk {number}: {why}", self.name)))?;
            // A chunk at the edge is stored whole and used in part.
            let left = across * self.columns * size;
            let width = (self.columns * size).min(row_bytes - left);
            for (from, to) in bytes.chunks_exact(self.columns * size).zip(out.chunks_exact_mut(row_bytes)) {
                to[left..left + width].copy_from_slice(&from[..width]);
            }
        }
        Ok(out)
    }
}

/// The layout message of a chunked data set.
struct Layout {
    rows: u64,
    columns: u64,
    flags: u8,
    /// The tree of version 3.
    tree: Option<u64>,
}

impl Layout {
    fn parse(source: &Source, set: &Chunked<'_>, fields: &mut Fields<'_>) -> Result<Self, VectorFileError> {
        let damaged = || source.damaged(format!("the layout of {} is damaged", set.name));
        let (flags, axes, width, tree) = if set.version == 3 {
            let axes = fields.u8().ok_or_else(damaged)?;
            (0, axes, 4, Some(fields.u64().ok_or_else(damaged)?))
        } else {
            let (flags, axes) = (fields.u8().ok_or_else(damaged)?, fields.u8().ok_or_else(damaged)?);
            (flags, axes, fields.u8().ok_or_else(damaged)?, None)
        };
        // The last axis is the bytes of a value.
        let mut size = || fields.uint(width.into()).filter(|&size| size > 0).ok_or_else(damaged);
        let (rows, columns, bytes) = (size()?, size()?, size()?);
        if axes != 3 || bytes != set.element.size() as u64 {
            return Err(damaged());
        }
        Ok(Self { rows, columns, flags, tree })
    }

    /// Finds all chunks; `size` is the bytes of one when unpacked.
    fn index(
        &self,
        file: &File<'_>,
        set: &Chunked<'_>,
        places: &mut Places<'_>,
        size: u64,
        mut fields: Fields<'_>,
    ) -> Result<(), VectorFileError> {
        let source = file.source;
        let damaged = || source.damaged(format!("the layout of {} is damaged", set.name));
        let never = |address: u64| {
            if address != NOWHERE {
                return Ok(address);
            }
            Err(source.damaged(format!("{} was never written: it has a size and no values", set.name)))
        };
        if let Some(tree) = self.tree {
            return places.tree(file, never(tree)?, None);
        }
        let kind = fields.u8().ok_or_else(damaged)?;
        match kind {
            1 => {
                let (mut stored, mut skipped) = (size, 0);
                if self.flags & 2 != 0 {
                    (stored, skipped) =
                        (fields.u64().ok_or_else(damaged)?, fields.u32().ok_or_else(damaged)?);
                }
                let at = never(fields.u64().ok_or_else(damaged)?)?;
                places.single(file, Chunk { at, size: stored, skipped })
            }
            2 => places.implicit(file, never(fields.u64().ok_or_else(damaged)?)?, size),
            3 => {
                fields.bytes(1).ok_or_else(damaged)?;
                places.fixed_array(file, never(fields.u64().ok_or_else(damaged)?)?, size)
            }
            _ => Err(source.unsupported(format!(
                "{} can grow and was written for the newest HDF5; copy it: h5repack --low=0 --high=0 OLD NEW",
                set.name
            ))),
        }
    }
}
