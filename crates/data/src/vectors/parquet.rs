//! Parquet: row groups of packed pages, of which one column is read.
//!
//! Rows can only be reached by unpacking those before them in their row group, so the reader stays where the last
//! read ended; reading on costs nothing twice. Packings read: none, Snappy, gzip, LZ4, Zstandard.

use super::column::{Column, batch, schema};
use super::file::Shape;
use super::guard::guarded;
use super::page::{self, PageSizes};
use super::source::Source;
use super::{Element, VectorFileError};
use crate::atomic::AtomicFile;
use arrow_schema::Schema;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{ChunkReader, Length};
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a row group that is written, before packing.
const GROUP: usize = 64 << 20;

/// No vectors are packed into less than this part of their bytes: where a list ends takes a bit a value.
const MOST_PACKING: u64 = 1 << 16;

/// Bytes of rows that are unpacked at once.
const BATCH: usize = 4 << 20;

/// Most bytes of a page when unpacked; writers aim at one MiB.
const MAX_PAGE: u64 = 1 << 30;

/// A column of a Parquet file.
pub(super) struct ParquetRows {
    source: Arc<Source>,
    column: Column,
    shape: Shape,
    meta: ArrowReaderMetadata,
    /// The row after the last of each row group.
    ends: Vec<usize>,
    place: Mutex<Option<Place>>,
}

/// Where the last read ended.
struct Place {
    /// The row that `reader` gives next.
    next: usize,
    reader: ParquetRecordBatchReader,
    /// Values of the rows before `next` that were unpacked and not asked for yet.
    left: Vec<u8>,
    /// Bytes of `left` that were handed out.
    used: usize,
}

/// Column `name`, or the only one of vectors.
pub(super) fn open(
    source: &Arc<Source>,
    name: Option<&str>,
) -> Result<(ParquetRows, String), VectorFileError> {
    if source.len() < 12 {
        source.require(0, 12, "a Parquet file")?;
    }
    let tail = source.take(source.len() - 4, 4, "the end of the footer")?;
    if tail != b"PAR1" {
        let what = "the footer (it ends with PAR1)";
        return Err(source
            .damaged(format!("data end at byte {} without {what}; the file is cut short", source.len())));
    }
    check_footer(source)?;
    let meta = guarded(source, "the footer", || {
        ArrowReaderMetadata::load(&Reader { source: source.clone(), pages: None }, ArrowReaderOptions::new())
    })?;
    let column = Column::find(source, meta.schema(), name)?;
    let mut ends = Vec::new();
    let mut rows = 0usize;
    for (number, group) in meta.metadata().row_groups().iter().enumerate() {
        for column in group.columns() {
            let (start, dictionary) =
                (column.data_page_offset(), column.dictionary_page_offset().unwrap_or(0));
            let size = u64::try_from(column.compressed_size());
            let (Ok(size), false) = (size, start < 0 || dictionary < 0) else {
                return Err(source.damaged(format!("row group {number} has a column that is nowhere")));
            };
            source.require(start as u64, 0, &format!("row group {number}"))?;
            source.require(dictionary as u64, size, &format!("row group {number}"))?;
        }
        let count = usize::try_from(group.num_rows()).ok().and_then(|count| rows.checked_add(count));
        rows = count
            .ok_or_else(|| source.damaged(format!("row group {number} has no sensible number of rows")))?;
        ends.push(rows);
    }
    let element = column.element;
    let mut open = ParquetRows {
        source: source.clone(),
        shape: Shape { rows, dim: column.dim.unwrap_or(0), element },
        column,
        meta,
        ends,
        place: Mutex::new(None),
    };
    if open.column.dim.is_none() {
        if rows == 0 {
            let name = &open.column.name;
            return Err(source.damaged(format!("column {name} has no rows, so its vectors have no length")));
        }
        let mut reader = open.reader(source, 0, 1)?;
        let array = guarded(source, "row 0", || match reader.next() {
            Some(Ok(batch)) if batch.num_rows() > 0 && batch.num_columns() == 1 => {
                Ok(batch.column(0).clone())
            }
            Some(Err(error)) => Err(error.to_string()),
            _ => Err("it is not there".to_owned()),
        })?;
        open.shape.dim = guarded(source, "row 0", || open.column.dim_of(source, &array))?;
    }
    let bytes = (rows as u64).checked_mul((open.shape.dim * element.size()) as u64);
    if bytes.is_none_or(|bytes| bytes / MOST_PACKING > source.len()) {
        let reason =
            format!("the footer promises {rows} rows of {}, which no such file holds", open.shape.dim);
        return Err(source.damaged(reason));
    }
    let name = open.column.name.clone();
    Ok((open, name))
}

/// Looks through the footer before the crate does. A length that leaves the file is the crate's to refuse.
fn check_footer(source: &Source) -> Result<(), VectorFileError> {
    let end = source.len() - 8;
    let length = source.take(end, 4, "the length of the footer")?;
    let length = u64::from(u32::from_le_bytes(length.try_into().expect("four bytes")));
    let Some(start) = end.checked_sub(length) else { return Ok(()) };
    let footer = source.take(start, length, "the footer")?;
    page::check_footer(&footer).map_err(|error| source.damaged(format!("the footer: {error}")))
}

impl ParquetRows {
    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// What the pages of one pass through the file may promise.
    fn pages(&self) -> Pages {
        let groups = self.meta.metadata().row_groups();
        let columns = groups.iter().flat_map(RowGroupMetaData::columns);
        let packing = columns.map(|column| packing(column.compression())).max().unwrap_or(1);
        // Values of the rows, of dictionaries, which have fewer, and of heads that are read twice. While the rows'
        // length is not known one row is read: its page and the next.
        let all = self.shape.rows.saturating_mul(self.shape.dim) as u64;
        let values = if self.shape.dim == 0 { MAX_PAGE / 8 } else { all.saturating_mul(4) };
        Pages { packing, values: AtomicU64::new(values) }
    }

    /// A reader of the rows from row group `group` on, `batch` at a time.
    ///
    /// The crate could skip rows in it too, but does so for ever in a page with fewer rows than it states.
    fn reader(
        &self,
        source: &Source,
        group: usize,
        batch: usize,
    ) -> Result<ParquetRecordBatchReader, VectorFileError> {
        guarded(source, &format!("row group {group}"), || {
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
                Reader { source: self.source.clone(), pages: Some(Arc::new(self.pages())) },
                self.meta.clone(),
            );
            let mask = ProjectionMask::roots(builder.parquet_schema(), [self.column.number]);
            builder
                .with_projection(mask)
                .with_row_groups((group..self.ends.len()).collect())
                .with_batch_size(batch)
                .build()
        })
    }

    /// Fills `out`, whole rows, from row `first` on.
    pub(super) fn fill(&self, source: &Source, first: usize, out: &mut [u8]) -> Result<(), VectorFileError> {
        let row_bytes = self.shape.dim * self.shape.element.size();
        let mut held = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out, so that after an error the next read starts anew.
        let mut place = match held.take() {
            Some(place) if place.next - (place.left.len() - place.used) / row_bytes == first => place,
            _ => {
                let group = self.ends.partition_point(|&end| end <= first);
                let reader = self.reader(source, group, batch_rows(row_bytes))?;
                let next = if group == 0 { 0 } else { self.ends[group - 1] };
                Place { next, reader, left: Vec::new(), used: 0 }
            }
        };
        let mut rest = out;
        loop {
            let length = (place.left.len() - place.used).min(rest.len());
            rest[..length].copy_from_slice(&place.left[place.used..place.used + length]);
            place.used += length;
            rest = &mut rest[length..];
            if rest.is_empty() {
                break;
            }
            let row = place.next;
            let batch = guarded(source, &format!("row {row}"), || match place.reader.next() {
                Some(Ok(batch)) if batch.num_rows() > 0 => Ok(batch),
                Some(Err(error)) => Err(error.to_string()),
                _ => Err("data end here, the footer promises more".to_owned()),
            })?;
            place.next += batch.num_rows();
            if place.next <= first {
                continue;
            }
            place.left = guarded(source, &format!("row {row}"), || {
                self.column.bytes(source, self.shape, row, batch.column(0))
            })?;
            // The first batch may start before the first row that is asked for.
            place.used = first.saturating_sub(row) * row_bytes;
        }
        *held = Some(place);
        Ok(())
    }
}

/// Rows a batch: enough to be quick, few enough for the memory.
fn batch_rows(row_bytes: usize) -> usize {
    (BATCH / row_bytes).clamp(1, 1 << 16)
}

/// The file as the Parquet crate wants it. While it reads rows it asks for streams only to read heads of pages, and
/// each must say sizes that the page can have.
struct Reader {
    source: Arc<Source>,
    /// `None` while the footer is read.
    pages: Option<Arc<Pages>>,
}

impl Length for Reader {
    fn len(&self) -> u64 {
        self.source.len()
    }
}

impl ChunkReader for Reader {
    type T = io::BufReader<From>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(io::BufReader::new(From { source: self.source.clone(), at: start, pages: self.pages.clone() }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.source.take(start, length as u64, "a page");
        bytes.map(Bytes::from).map_err(|error| ParquetError::General(error.to_string()))
    }
}

/// What pages may promise.
struct Pages {
    /// The most bytes that one stored byte unpacks to.
    packing: u64,
    /// Values that are left for the pages to come. Runs of one value take no room, and a row that does not end would
    /// be gathered for as long as there are values.
    values: AtomicU64,
}

impl Pages {
    /// Refuses a page that promises more than it can hold, or than is unpacked at once.
    fn check(&self, page: &PageSizes, start: u64) -> Result<(), ParquetError> {
        let sizes = [page.stored, page.unpacked, page.values].map(u64::try_from);
        if let [Ok(stored), Ok(unpacked), Ok(values)] = sizes {
            // A page of nulls alone stores nothing; what is small is of no concern.
            let most = stored.saturating_mul(self.packing).saturating_add(1 << 16);
            let take = |left: u64| left.checked_sub(values);
            let enough = self.values.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
            if unpacked <= most.min(MAX_PAGE) && enough {
                return Ok(());
            }
        }
        let (stored, unpacked, values) = (page.stored, page.unpacked, page.values);
        Err(ParquetError::General(format!(
            "the page at byte {start} says that {stored} bytes unpack to {unpacked}, which are {values} values"
        )))
    }
}

/// The most that `packing` makes of a byte.
fn packing(packing: Compression) -> u64 {
    match packing {
        Compression::UNCOMPRESSED => 1,
        // Copies of up to 64 bytes in 3.
        Compression::SNAPPY => 22,
        // A length goes on in bytes that stand for 255 each.
        Compression::LZ4 | Compression::LZ4_RAW => 255,
        Compression::GZIP(_) => 1032,
        // Blocks of up to 128 KiB in 4 bytes. The others are not read at all.
        Compression::ZSTD(_) | Compression::LZO | Compression::BROTLI(_) => 1 << 15,
    }
}

/// The file from some byte on.
struct From {
    source: Arc<Source>,
    at: u64,
    /// What the page whose head is here may promise, until that is known to be true. The crate asks for streams that
    /// it does not read, from places where no head is, so that nothing is looked at before the first byte is wanted.
    pages: Option<Arc<Pages>>,
}

impl Read for From {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some(pages) = self.pages.take() {
            let head = Self { source: self.source.clone(), at: self.at, pages: None };
            pages.check(&PageSizes::read(io::BufReader::new(head))?, self.at).map_err(io::Error::other)?;
        }
        let left = self.source.len().saturating_sub(self.at);
        let length = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.source.read(self.at, &mut out[..length], "a page").map_err(io::Error::other)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// Writes a Parquet file of one column.
pub(super) struct ParquetWriter {
    out: parquet::arrow::ArrowWriter<AtomicFile>,
    schema: Arc<Schema>,
    element: Element,
    dim: usize,
}

impl ParquetWriter {
    pub(super) fn new(file: AtomicFile, element: Element, dim: usize) -> io::Result<Self> {
        let schema = Arc::new(schema(element, dim));
        let rows = (GROUP / (dim * element.size())).max(1);
        // Coordinates hardly repeat: packing and dictionaries would cost time and save nothing.
        let properties = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .set_dictionary_enabled(false)
            .set_max_row_group_row_count(Some(rows))
            .build();
        let out = parquet::arrow::ArrowWriter::try_new(file, schema.clone(), Some(properties));
        Ok(Self { out: out.map_err(io::Error::other)?, schema, element, dim })
    }

    pub(super) fn push(&mut self, rows: &[u8]) -> io::Result<()> {
        let batch = batch(&self.schema, self.element, self.dim, rows)?;
        self.out.write(&batch).map_err(io::Error::other)
    }

    pub(super) fn finish(self) -> io::Result<AtomicFile> {
        self.out.into_inner().map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(packing: u64, values: u64) -> Pages {
        Pages { packing, values: AtomicU64::new(values) }
    }

    #[test]
    fn a_page_promises_what_it_can_hold() {
        let page = |stored, unpacked, values| PageSizes { stored, unpacked, values };
        let snappy = pages(packing(Compression::SNAPPY), 10);
        // 100,000 bytes of copies make 2,200,000, and 65,536 are always allowed.
        assert!(snappy.check(&page(100_000, 2_265_536, 4), 0).is_ok());
        assert!(snappy.check(&page(100_000, 2_265_537, 0), 0).is_err());
        assert!(snappy.check(&page(1, 1, 6), 0).is_ok());
        let error = snappy.check(&page(1, 1, 1), 7).unwrap_err().to_string();
        assert!(
            error.contains("the page at byte 7 says that 1 bytes unpack to 1, which are 1 values"),
            "{error}"
        );
        assert!(
            pages(1 << 15, 10).check(&page(1 << 30, (1 << 30) + 1, 1), 0).is_err(),
            "a page of more than 1 GiB"
        );
        for negative in [page(-1, 1, 1), page(1, -1, 1), page(1, 1, -1)] {
            assert!(pages(22, 10).check(&negative, 0).is_err());
        }
    }

    #[test]
    fn heads_are_checked_before_the_crate_sees_them() {
        // Type 0, 2^30 - 1 bytes unpacked, 1 stored.
        let head = vec![0x15, 0, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x07, 0x15, 2, 0, 0, 0];
        let source = Arc::new(Source::memory("head", head));
        let reader = |pages| Reader { source: source.clone(), pages };
        let read = |pages| io::read_to_string(reader(pages).get_read(0).unwrap().take(3));
        assert!(read(None).is_ok(), "the footer has no pages");
        let pages = Some(Arc::new(pages(22, 10)));
        assert!(reader(pages.clone()).get_read(5).is_ok(), "nothing is read");
        let error = read(pages).unwrap_err().to_string();
        assert!(error.contains("1 bytes unpack to 1073741823"), "{error}");
    }
}
