//! Arrow IPC files (`.arrow`, `.feather` version 2) and streams: record batches, of which one column is read.
//!
//! A file ends with a footer that says where its batches are; a stream, which is what Hugging Face's `datasets`
//! keeps, is walked once to find them. Batches may be packed with LZ4 or Zstandard. Source: Arrow columnar format,
//! version 1.5.

use super::column::{Column, batch, schema};
use super::file::Shape;
use super::guard::guarded;
use super::source::Source;
use super::{Element, VectorFileError};
use crate::atomic::AtomicFile;
use arrow_array::ArrayRef;
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::FileDecoder;
use arrow_ipc::writer::FileWriter;
use arrow_ipc::{Block, CompressionType, MetadataVersion, root_as_footer, root_as_message};
use arrow_schema::Schema;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

const MAGIC: &[u8] = b"ARROW1";

/// Longest footer, and longest description of a batch, bytes.
const MAX_META: u64 = 1 << 26;

/// Most bytes of one batch, packed or not: batches are read whole.
const MAX_BATCH: u64 = 1 << 31;

/// One record batch in the file.
#[derive(Clone, Copy)]
struct Place {
    at: u64,
    meta: u64,
    body: u64,
    /// Most bytes of values that can be in it.
    most: u64,
    /// The row after its last.
    end: usize,
}

/// A column of an Arrow file.
pub(super) struct ArrowRows {
    column: Column,
    shape: Shape,
    decoder: FileDecoder,
    places: Vec<Place>,
    /// The batch that was unpacked last: its number and its values.
    last: Mutex<Option<(usize, Vec<u8>)>>,
}

/// Column `name`, or the only one of vectors.
pub(super) fn open(source: &Source, name: Option<&str>) -> Result<(ArrowRows, String), VectorFileError> {
    let mut magic = [0; 6];
    source.read(0, &mut magic[..source.len().min(6) as usize], "the head")?;
    let found = if magic == MAGIC { footer(source)? } else { walk(source)? };
    let column = Column::find(source, &found.schema, name)?;
    let mut places = Vec::with_capacity(found.places.len());
    let (mut rows, mut bytes) = (0usize, 0u64);
    for mut place in found.places {
        // Batches that lie in each other would make much out of little, and looking at them take long.
        bytes = bytes.saturating_add(place.meta).saturating_add(place.body);
        if bytes > source.len() {
            return Err(source.damaged("its record batches are larger than the file"));
        }
        rows = rows
            .checked_add(check_batch(source, &mut place)?)
            .ok_or_else(|| source.damaged("too many rows"))?;
        place.end = rows;
        places.push(place);
    }
    let decoder =
        FileDecoder::new(Arc::new(found.schema), found.version).with_projection(vec![column.number]);
    let element = column.element;
    let mut open = ArrowRows {
        shape: Shape { rows, dim: column.dim.unwrap_or(0), element },
        decoder,
        column,
        places,
        last: Mutex::new(None),
    };
    if open.column.dim.is_none() {
        // Lists state their lengths one by one: the first says what all must be.
        let first = open.places.iter().position(|place| place.end > 0).ok_or_else(|| {
            source.damaged(format!("column {} has no rows, so its vectors have no length", open.column.name))
        })?;
        let array = open.array(source, first)?;
        open.shape.dim = guarded(source, "batch 0", || open.column.dim_of(source, &array))?;
    }
    let (mut start, row_bytes) = (0, (open.shape.dim * element.size()) as u64);
    for (number, place) in open.places.iter().enumerate() {
        let rows = (place.end - start) as u64;
        if rows.checked_mul(row_bytes).is_none_or(|bytes| bytes > place.most) {
            return Err(source.damaged(format!("batch {number} promises {rows} rows, which it cannot hold")));
        }
        start = place.end;
    }
    let name = open.column.name.clone();
    Ok((open, name))
}

impl ArrowRows {
    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Fills `out`, whole rows, from row `first` on.
    pub(super) fn fill(&self, source: &Source, first: usize, out: &mut [u8]) -> Result<(), VectorFileError> {
        let row_bytes = self.shape.dim * self.shape.element.size();
        let (mut row, mut rest) = (first, out);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        while !rest.is_empty() {
            let number = self.places.partition_point(|place| place.end <= row);
            let start = if number == 0 { 0 } else { self.places[number - 1].end };
            if last.as_ref().is_none_or(|(kept, _)| *kept != number) {
                *last = None;
                let array = self.array(source, number)?;
                let bytes = guarded(source, &format!("batch {number}"), || {
                    self.column.bytes(source, self.shape, start, &array)
                })?;
                if bytes.len() != (self.places[number].end - start) * row_bytes {
                    return Err(source.damaged(format!("batch {number} has other rows than it states")));
                }
                *last = Some((number, bytes));
            }
            let Some((_, bytes)) = &*last else { unreachable!() };
            let from = (row - start) * row_bytes;
            let length = (bytes.len() - from).min(rest.len());
            let (head, tail) = rest.split_at_mut(length);
            head.copy_from_slice(&bytes[from..from + length]);
            row += length / row_bytes;
            rest = tail;
        }
        Ok(())
    }

    /// The column in batch `number`.
    fn array(&self, source: &Source, number: usize) -> Result<ArrayRef, VectorFileError> {
        let place = self.places[number];
        let what = format!("batch {number}");
        let bytes = source.take(place.at, place.meta + place.body, &what)?;
        guarded(source, &what, || {
            // `check_batch` saw to it that these fit.
            let block = Block::new(0, place.meta as i32, place.body as i64);
            let batch = self
                .decoder
                .read_record_batch(&block, &Buffer::from_vec(bytes))
                .map_err(|e| e.to_string())?;
            let batch = batch.ok_or("it is no batch")?;
            if batch.num_columns() == 1 {
                Ok(batch.column(0).clone())
            } else {
                Err("it has no such column".to_owned())
            }
        })
    }
}

/// What a file says about its batches.
struct Found {
    schema: Schema,
    version: MetadataVersion,
    places: Vec<Place>,
}

/// A file's footer.
fn footer(source: &Source) -> Result<Found, VectorFileError> {
    let end = source.len().saturating_sub(10);
    let tail = source.take(end, 10, "the end of the footer")?;
    if &tail[4..] != MAGIC {
        let what = "the footer (it ends with ARROW1)";
        return Err(source
            .damaged(format!("data end at byte {} without {what}; the file is cut short", source.len())));
    }
    let length = u64::from(u32::from_le_bytes(tail[..4].try_into().expect("four bytes")));
    let start = end.checked_sub(length).filter(|_| length <= MAX_META);
    let start = start.ok_or_else(|| source.damaged(format!("a footer of {length} bytes")))?;
    let bytes = source.take(start, length, "the footer")?;
    guarded(source, "the footer", || {
        let footer = root_as_footer(&bytes).map_err(|error| error.to_string())?;
        let schema = try_fb_to_schema(footer.schema().ok_or("it has no schema")?)
            .map_err(|error| error.to_string())?;
        let mut places = Vec::new();
        for block in footer.recordBatches().ok_or("it lists no batches")? {
            let at = u64::try_from(block.offset()).map_err(|_| "a batch has no place")?;
            let meta = u64::try_from(block.metaDataLength()).map_err(|_| "a batch has no description")?;
            let body = u64::try_from(block.bodyLength()).map_err(|_| "a batch has no length")?;
            places.push(Place { at, meta, body, most: body, end: 0 });
        }
        Ok::<_, String>(Found { schema, version: footer.version(), places })
    })
}

/// A stream's messages, from the first to the last.
fn walk(source: &Source) -> Result<Found, VectorFileError> {
    let (mut at, mut schema, mut version, mut places) = (0u64, None, MetadataVersion::V5, Vec::new());
    while at < source.len() {
        let Some((start, length)) = message_at(source, at)? else { break };
        let bytes = source.take(start, length, "a message of the stream")?;
        let (body, is_batch) = guarded(source, "the stream", || {
            let message = root_as_message(&bytes).map_err(|error| error.to_string())?;
            if let Some(found) = message.header_as_schema()
                && schema.is_none()
            {
                (schema, version) =
                    (Some(try_fb_to_schema(found).map_err(|error| error.to_string())?), message.version());
            }
            let body =
                u64::try_from(message.bodyLength()).map_err(|_| "a message has no length".to_owned())?;
            Ok::<_, String>((body, message.header_as_record_batch().is_some()))
        })?;
        if schema.is_none() {
            break;
        }
        if is_batch {
            places.push(Place { at, meta: start - at + length, body, most: body, end: 0 });
        }
        at = (start + length).saturating_add(body);
    }
    let schema =
        schema.ok_or_else(|| source.damaged("it starts neither as an Arrow file nor as an Arrow stream"))?;
    Ok(Found { schema, version, places })
}

/// Where the description that starts at `at` is; `None` at the end of a stream.
fn message_at(source: &Source, at: u64) -> Result<Option<(u64, u64)>, VectorFileError> {
    let word = |at: u64| {
        let mut bytes = [0; 4];
        source.read(at, &mut bytes, "the length of a message").map(|()| u32::from_le_bytes(bytes))
    };
    // Newer streams have four bytes of ones before each length.
    let (start, length) = match word(at)? {
        u32::MAX => (at + 8, word(at + 4)?),
        length => (at + 4, length),
    };
    if u64::from(length) > MAX_META {
        return Err(source.damaged(format!("a message of {length} bytes at byte {at}")));
    }
    Ok(if length == 0 { None } else { Some((start, length.into())) })
}

/// Whether the batch is in the file and its buffers in the batch; gives its rows. The Arrow crates believe these
/// numbers, so they are checked before.
fn check_batch(source: &Source, place: &mut Place) -> Result<usize, VectorFileError> {
    source.require(place.at, place.meta.saturating_add(place.body), "a record batch")?;
    let (start, length) =
        message_at(source, place.at)?.ok_or_else(|| source.damaged("a batch without description"))?;
    if start + length > place.at + place.meta || place.meta > MAX_META || place.body > MAX_BATCH {
        let reason =
            format!("the batch at byte {} takes {} bytes; the most is {MAX_BATCH}", place.at, place.body);
        return Err(source.damaged(reason));
    }
    let bytes = source.take(start, length, "a record batch")?;
    let body = place.at + place.meta;
    let (mut packed, mut packing) = (Vec::new(), 1);
    let rows = guarded(source, &format!("the batch at byte {}", place.at), || {
        let message = root_as_message(&bytes).map_err(|error| error.to_string())?;
        let batch = message.header_as_record_batch().ok_or("it is no record batch")?;
        for buffer in batch.buffers().ok_or("it lists no buffers")? {
            let (at, length) = (u64::try_from(buffer.offset()), u64::try_from(buffer.length()));
            let (Ok(at), Ok(length)) = (at, length) else { return Err("a buffer is nowhere".to_owned()) };
            if at.checked_add(length).is_none_or(|end| end > place.body) {
                return Err("a buffer leaves the batch".to_owned());
            }
            if batch.compression().is_some() && length > 0 {
                packed.push((body + at, length));
            }
        }
        // LZ4's lengths go on in bytes that stand for 255 each; Zstandard has blocks of up to 128 KiB in 4 bytes.
        packing = match batch.compression().map(|packing| packing.codec()) {
            Some(CompressionType::LZ4_FRAME) => 255,
            Some(_) => 1 << 15,
            None => 1,
        };
        usize::try_from(batch.length()).map_err(|_| "it has no length".to_owned())
    })?;
    if !packed.is_empty() {
        place.most = place.body.saturating_mul(packing).min(MAX_BATCH);
    }
    for (at, length) in packed {
        let mut size = [0; 8];
        source.read(at, &mut size[..length.min(8) as usize], "a packed buffer")?;
        // -1 marks a buffer that was left as it is.
        let size = i64::from_le_bytes(size);
        let most = length.saturating_mul(packing).min(MAX_BATCH) as i64;
        if size > most || size < -1 || length < 8 {
            return Err(source.damaged(format!("a buffer at byte {at} says it unpacks to {size} bytes")));
        }
    }
    Ok(rows)
}

/// Writes an Arrow file of one column.
pub(super) struct ArrowWriter {
    out: FileWriter<AtomicFile>,
    schema: Arc<Schema>,
    element: Element,
    dim: usize,
}

impl ArrowWriter {
    pub(super) fn new(file: AtomicFile, element: Element, dim: usize) -> io::Result<Self> {
        let schema = Arc::new(schema(element, dim));
        let out = FileWriter::try_new(file, &schema).map_err(io::Error::other)?;
        Ok(Self { out, schema, element, dim })
    }

    pub(super) fn push(&mut self, rows: &[u8]) -> io::Result<()> {
        let batch = batch(&self.schema, self.element, self.dim, rows)?;
        self.out.write(&batch).map_err(io::Error::other)
    }

    pub(super) fn finish(self) -> io::Result<AtomicFile> {
        self.out.into_inner().map_err(io::Error::other)
    }
}
