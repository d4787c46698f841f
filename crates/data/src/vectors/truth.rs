//! Right answers: for each query its nearest rows, or all rows within a radius.

use super::source::{Fields, Source};
use super::{Element, Format, Select, VectorFile, VectorFileError, VectorWriteError, VectorWriter, big_ann};
use crate::atomic::write_atomic;
use std::io::Write;
use std::path::Path;

/// The nearest rows of each query, nearest first, `k` a query.
///
/// Read from `.ivecs` and other files of whole numbers (ids only), ann-benchmarks' HDF5 (`neighbors` and
/// `distances`) and the big-ann benchmarks' own: u32 queries, u32 k, all ids (u32), all distances (f32). Files of
/// that last kind have many names (`.bin`, `.ibin`, `bigann-10M`), so any other name is taken for one.
#[derive(Clone, Debug, PartialEq)]
pub struct GroundTruth {
    k: usize,
    ids: Vec<u32>,
    distances: Option<Vec<f32>>,
}

impl GroundTruth {
    /// `ids` and, if known, `distances`, both `queries x k`, row-major. `None` when the lengths do not fit.
    #[must_use]
    pub fn new(k: usize, ids: Vec<u32>, distances: Option<Vec<f32>>) -> Option<Self> {
        let whole = k > 0 && ids.len().is_multiple_of(k);
        let fits = distances.as_ref().is_none_or(|distances| distances.len() == ids.len());
        (whole && fits).then_some(Self { k, ids, distances })
    }

    /// Reads `path` whole.
    ///
    /// # Errors
    /// See [`VectorFileError`]; ids below 0 or from 2^32 on, and distances that are NaN.
    pub fn open(path: &Path) -> Result<Self, VectorFileError> {
        match Format::of(path) {
            Some(Format::Hdf5) => {
                let part = |name: &str| {
                    let part = Some(name.to_owned());
                    VectorFile::open_with(path, &Select { part, ..Select::default() })
                };
                let (near, far) = (part("neighbors")?, part("distances")?);
                let distances = far.read(0..far.len())?;
                if (far.len(), far.dim()) != (near.len(), near.dim()) {
                    let reason = format!(
                        "neighbors are {} x {}, distances {} x {}",
                        near.len(),
                        near.dim(),
                        far.len(),
                        far.dim()
                    );
                    return Err(VectorFileError::Damaged { file: path.display().to_string(), reason });
                }
                Ok(Self { distances: Some(distances), ..ids_of(&near)? })
            }
            None | Some(Format::Ibin) => Self::big_ann(&Source::open(path)?),
            Some(_) => ids_of(&VectorFile::open(path)?),
        }
    }

    /// Reads a file of the big-ann benchmarks that is in memory; `name` stands for it in messages.
    ///
    /// # Errors
    /// As [`GroundTruth::open`].
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, VectorFileError> {
        Self::big_ann(&Source::memory(name, bytes))
    }

    fn big_ann(source: &Source) -> Result<Self, VectorFileError> {
        let (queries, k) = big_ann::header(source)?;
        let values = u64::from(queries) * u64::from(k);
        let body = source.len() - big_ann::HEADER;
        if k == 0 {
            return Err(source.damaged("its head says 0 answers a query"));
        }
        // Without distances the same head is followed by ids alone. The lengths are compared by division: 8 bytes
        // times the largest number of values is more than 64 bits hold.
        let with_distances = body.is_multiple_of(8) && body / 8 == values;
        let only_ids = body.is_multiple_of(4) && body / 4 == values;
        if !with_distances && !only_ids {
            source.require(big_ann::HEADER, values.saturating_mul(4), &format!("{queries} x {k} ids"))?;
            let reason = format!(
                "{queries} x {k} ids and as many distances need {} bytes after the head, there are {body}",
                values.saturating_mul(8)
            );
            return Err(source.damaged(reason));
        }
        let ids = words(source, big_ann::HEADER, values, "ids")?;
        let distances = if with_distances {
            let stored = words(source, big_ann::HEADER + values * 4, values, "distances")?;
            Some(floats(source, &stored, k as usize)?)
        } else {
            None
        };
        Ok(Self { k: k as usize, ids, distances })
    }

    /// Number of queries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len() / self.k
    }

    /// Whether there is no query.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Answers a query.
    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    /// Ids of query `i`'s nearest rows, nearest first.
    ///
    /// # Panics
    /// When `i >= self.len()`.
    #[must_use]
    pub fn ids(&self, i: usize) -> &[u32] {
        &self.ids[i * self.k..(i + 1) * self.k]
    }

    /// Their distances, in the file's own measure, where it has them.
    ///
    /// # Panics
    /// When `i >= self.len()`.
    #[must_use]
    pub fn distances(&self, i: usize) -> Option<&[f32]> {
        self.distances.as_ref().map(|distances| &distances[i * self.k..(i + 1) * self.k])
    }

    /// Writes `.ivecs` or `.npy` (u32), which hold ids only, or the big-ann benchmarks' file under `.ibin` or `.bin`,
    /// with the distances if there are any.
    ///
    /// # Errors
    /// Another name, ids from 2^31 on in `.ivecs`, distances that are NaN, and what the system refuses.
    pub fn write(&self, path: &Path) -> Result<(), VectorWriteError> {
        let end = path.extension().and_then(|end| end.to_str());
        match (Format::of(path), end) {
            (Some(Format::Ivecs), _) => {
                if let Some(id) = self.ids.iter().find(|&&id| i32::try_from(id).is_err()) {
                    let reason = format!("row {id} is beyond .ivecs, whose numbers end at 2^31; write .ibin");
                    return Err(unfit(path, reason));
                }
                self.write_ids(path, Element::I32)
            }
            (Some(Format::Npy), _) => self.write_ids(path, Element::U32),
            (Some(Format::Ibin), _) | (None, Some("bin")) => self.write_big_ann(path),
            _ => Err(unfit(path, "right answers are written as .ivecs, .npy, .ibin or .bin")),
        }
    }

    fn write_ids(&self, path: &Path, element: Element) -> Result<(), VectorWriteError> {
        let mut out = VectorWriter::create(path, element, self.k)?;
        for ids in self.ids.chunks(self.k) {
            out.push_bytes(&ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>())?;
        }
        out.finish().map(|_| ())
    }

    fn write_big_ann(&self, path: &Path) -> Result<(), VectorWriteError> {
        let sizes = (u32::try_from(self.len()), u32::try_from(self.k));
        let (Ok(queries), Ok(k)) = sizes else { return Err(unfit(path, "its head counts to 2^32")) };
        let distances = self.distances.as_deref().unwrap_or(&[]);
        numbers_only(path, distances)?;
        write_words(path, &[queries, k], &self.ids, distances)
    }
}

/// All rows within a radius of each query, as the big-ann benchmarks give them for SSNPP: i32 queries, i32 answers in
/// all, the answers of each query (i32), all ids (i32), all distances (f32).
#[derive(Clone, Debug, PartialEq)]
pub struct RangeTruth {
    ends: Vec<usize>,
    ids: Vec<u32>,
    distances: Vec<f32>,
}

impl RangeTruth {
    /// Query `i` has `counts[i]` answers, which follow those of the queries before it in `ids` and `distances`.
    /// `None` when the lengths do not fit.
    #[must_use]
    pub fn new(counts: &[usize], ids: Vec<u32>, distances: Vec<f32>) -> Option<Self> {
        let mut ends = Vec::with_capacity(counts.len());
        let mut sum = 0usize;
        for &count in counts {
            sum = sum.checked_add(count)?;
            ends.push(sum);
        }
        (sum == ids.len() && sum == distances.len()).then_some(Self { ends, ids, distances })
    }

    /// Writes the big-ann benchmarks' file. It has no end of its name to itself, so any name will do that says no
    /// other format, such as `ssnpp-1M` or `answers.rangeres`.
    ///
    /// # Errors
    /// A name of another format, a number of 2^31 or more, distances that are NaN, and what the system refuses.
    pub fn write(&self, path: &Path) -> Result<(), VectorWriteError> {
        if let Some(format) = Format::of(path) {
            let reason = format!(
                "answers within a radius are no .{format} file; give a name such as answers.rangeres"
            );
            return Err(unfit(path, reason));
        }
        let word = |number: usize| i32::try_from(number).map(|number| number as u32);
        let (Ok(queries), Ok(total)) = (word(self.len()), word(self.ids.len())) else {
            return Err(unfit(path, "its head counts to 2^31"));
        };
        if let Some(id) = self.ids.iter().find(|&&id| i32::try_from(id).is_err()) {
            return Err(unfit(path, format!("row {id} is beyond such a file, whose numbers end at 2^31")));
        }
        numbers_only(path, &self.distances)?;
        let mut head = vec![queries, total];
        // No count is above their sum, which fits.
        head.extend((0..self.len()).map(|i| self.of(i).0.len() as u32));
        write_words(path, &head, &self.ids, &self.distances)
    }

    /// Reads `path` whole.
    ///
    /// # Errors
    /// See [`VectorFileError`].
    pub fn open(path: &Path) -> Result<Self, VectorFileError> {
        Self::read(&Source::open(path)?)
    }

    /// Reads a file that is in memory; `name` stands for it in messages.
    ///
    /// # Errors
    /// See [`VectorFileError`].
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, VectorFileError> {
        Self::read(&Source::memory(name, bytes))
    }

    fn read(source: &Source) -> Result<Self, VectorFileError> {
        let (queries, total) = big_ann::header(source)?;
        let (queries, total) = (u64::from(queries), u64::from(total));
        let start = big_ann::HEADER + queries * 4;
        let need = queries * 4 + total * 8;
        source.require(big_ann::HEADER, need, &format!("{queries} queries with {total} answers"))?;
        if big_ann::HEADER + need != source.len() {
            let left = source.len() - big_ann::HEADER - need;
            return Err(source.damaged(format!("{left} bytes follow {queries} queries with {total} answers")));
        }
        let mut ends = Vec::with_capacity(queries as usize);
        let mut sum = 0u64;
        for count in words(source, big_ann::HEADER, queries, "counts")? {
            sum += u64::from(count);
            ends.push(sum as usize);
        }
        if sum != total {
            return Err(source.damaged(format!("its head says {total} answers, its queries have {sum}")));
        }
        let ids = words(source, start, total, "ids")?;
        let distances = floats(source, &words(source, start + total * 4, total, "distances")?, 1)?;
        Ok(Self { ends, ids, distances })
    }

    /// Number of queries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no query.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Ids and distances of the rows within query `i`'s radius.
    ///
    /// # Panics
    /// When `i >= self.len()`.
    #[must_use]
    pub fn of(&self, i: usize) -> (&[u32], &[f32]) {
        let range = if i == 0 { 0 } else { self.ends[i - 1] }..self.ends[i];
        (&self.ids[range.clone()], &self.distances[range])
    }
}

fn unfit(path: &Path, reason: impl Into<String>) -> VectorWriteError {
    VectorWriteError::Format { file: path.to_path_buf(), reason: reason.into() }
}

/// Refuses what the readers do.
fn numbers_only(path: &Path, distances: &[f32]) -> Result<(), VectorWriteError> {
    match distances.iter().position(|distance| distance.is_nan()) {
        Some(at) => Err(unfit(path, format!("distance {at} is NaN"))),
        None => Ok(()),
    }
}

/// A file of words one after another.
fn write_words(path: &Path, head: &[u32], ids: &[u32], distances: &[f32]) -> Result<(), VectorWriteError> {
    let write = |out: &mut dyn Write| {
        head.iter().chain(ids).try_for_each(|word| out.write_all(&word.to_le_bytes()))?;
        distances.iter().try_for_each(|distance| out.write_all(&distance.to_le_bytes()))
    };
    write_atomic(path, write).map_err(|source| VectorWriteError::Io { file: path.to_path_buf(), source })
}

/// A file of whole numbers as answers.
fn ids_of(file: &VectorFile) -> Result<GroundTruth, VectorFileError> {
    let mut ids = Vec::with_capacity(file.len() * file.dim());
    for (at, id) in file.read_ids(0..file.len())?.into_iter().enumerate() {
        let id = u32::try_from(id).map_err(|_| file.value_error(0, at, format!("{id} is no row")))?;
        ids.push(id);
    }
    Ok(GroundTruth { k: file.dim(), ids, distances: None })
}

/// `count` words from byte `at` on.
fn words(source: &Source, at: u64, count: u64, what: &str) -> Result<Vec<u32>, VectorFileError> {
    let bytes = source.take(at, count * 4, what)?;
    Ok(bytes.chunks_exact(4).filter_map(|word| Fields(word).u32()).collect())
}

/// Words as distances.
fn floats(source: &Source, words: &[u32], k: usize) -> Result<Vec<f32>, VectorFileError> {
    let distances: Vec<f32> = words.iter().map(|&word| f32::from_bits(word)).collect();
    if let Some(at) = distances.iter().position(|distance| distance.is_nan()) {
        let reason = "the distance is NaN".to_owned();
        let file = source.name().to_owned();
        return Err(VectorFileError::Value { file, row: at / k, column: at % k, reason });
    }
    Ok(distances)
}
