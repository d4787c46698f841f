//! The manifest: one CSV row a picture.
//!
//! Columns `path,label` are required; `split,is_query,is_gallery,category,camera,family,text,hash` are not.
//! An empty optional cell means "not stated".

use crate::dataset::{Item, Split};
use crate::dataset_error::DatasetError;
use csv::StringRecord;
use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read, Write};
use std::path::Path;

/// Columns in the order in which they are written.
const COLUMNS: [&str; 10] =
    ["path", "label", "split", "is_query", "is_gallery", "category", "camera", "family", "text", "hash"];

/// What a manifest says.
pub(crate) struct Manifest {
    pub(crate) classes: Vec<String>,
    pub(crate) items: Vec<Item>,
    pub(crate) has_splits: bool,
}

impl Manifest {
    /// Gives labels their numbers: classes are sorted by name.
    pub(crate) fn new(labelled: Vec<(String, Item)>, has_splits: bool) -> Self {
        let names: BTreeSet<&str> = labelled.iter().map(|(label, _)| label.as_str()).collect();
        let classes: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let numbers: HashMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
        let items = labelled
            .into_iter()
            .map(|(label, item)| Item { label: numbers[label.as_str()], ..item })
            .collect();
        Self { classes, items, has_splits }
    }
}

/// Reads a manifest; `exists` says what is wrong with a path, if anything.
///
/// # Errors
/// Names `manifest` (a path to show) and the row.
pub(crate) fn read(
    reader: impl Read,
    manifest: &str,
    exists: impl Fn(&str) -> Result<(), String>,
) -> Result<Manifest, DatasetError> {
    let csv_error =
        |err: csv::Error| DatasetError::Csv { manifest: manifest.to_owned(), reason: err.to_string() };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(reader);
    let columns = Columns::find(reader.headers().map_err(csv_error)?, manifest)?;
    let mut labelled = Vec::new();
    let mut seen: HashMap<String, u64> = HashMap::new();
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(csv_error)? {
        let row = record.position().map_or(0, csv::Position::line);
        let wrong = |reason| DatasetError::Row { manifest: manifest.to_owned(), row, reason };
        let (label, item) = columns.item(&record).map_err(wrong)?;
        if let Some(first) = seen.insert(item.path.clone(), row) {
            return Err(wrong(format!(
                "{} is listed in row {first} already; remove one of the two",
                item.path
            )));
        }
        exists(&item.path).map_err(wrong)?;
        if labelled.len() >= u32::MAX as usize {
            return Err(wrong(format!("more than {} pictures", u32::MAX)));
        }
        labelled.push((label, item));
    }
    if labelled.is_empty() {
        return Err(DatasetError::Csv {
            manifest: manifest.to_owned(),
            reason: "no rows after the header; add one row a picture".to_owned(),
        });
    }
    Ok(Manifest::new(labelled, columns.place[2].is_some()))
}

/// Where each of [`COLUMNS`] stands in a file.
struct Columns {
    place: [Option<usize>; COLUMNS.len()],
}

impl Columns {
    fn find(header: &StringRecord, manifest: &str) -> Result<Self, DatasetError> {
        let mut place = [None; COLUMNS.len()];
        for (at, name) in header.iter().enumerate() {
            if let Some(column) = COLUMNS.iter().position(|c| *c == name)
                && place[column].replace(at).is_some()
            {
                return Err(DatasetError::Csv {
                    manifest: manifest.to_owned(),
                    reason: format!("the column `{name}` is there twice; remove one"),
                });
            }
        }
        for required in 0..2 {
            if place[required].is_none() {
                return Err(DatasetError::NoColumn {
                    manifest: manifest.to_owned(),
                    column: COLUMNS[required],
                    found: header.iter().collect::<Vec<_>>().join(", "),
                });
            }
        }
        Ok(Self { place })
    }

    /// The cell of column number `column`; none when it is empty or the column is absent.
    fn cell<'a>(&self, record: &'a StringRecord, column: usize) -> Option<&'a str> {
        record.get(self.place[column]?).filter(|cell| !cell.is_empty())
    }

    fn item(&self, record: &StringRecord) -> Result<(String, Item), String> {
        let text = |column| self.cell(record, column).map(str::to_owned);
        let required = |column: usize| text(column).ok_or_else(|| format!("`{}` is empty", COLUMNS[column]));
        let flag = |column: usize| match self.cell(record, column) {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(format!("`{}` is `{other}`; write true or false", COLUMNS[column])),
        };
        let split = match self.place[2] {
            Some(_) => required(2)?.parse::<Split>().map_err(|err| err.to_string())?,
            None => Split::Train,
        };
        let item = Item {
            path: required(0)?,
            label: 0, // numbered once every class is known
            split,
            is_query: flag(3)?,
            is_gallery: flag(4)?,
            category: text(5),
            camera: text(6),
            family: text(7),
            text: text(8),
            hash: self.cell(record, 9).map(hash).transpose()?,
        };
        Ok((required(1)?, item))
    }
}

fn hash(cell: &str) -> Result<String, String> {
    if cell.len() == 64 && cell.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(cell.to_ascii_lowercase());
    }
    Err(format!("`hash` is `{cell}`; it must be BLAKE3, 64 hexadecimal digits, or empty"))
}

fn cells<'a>(item: &'a Item, class: &'a str, hash: &'a str) -> [&'a str; COLUMNS.len()] {
    let flag = |set| if set { "true" } else { "false" };
    let text = |cell: &'a Option<String>| cell.as_deref().unwrap_or("");
    [
        &item.path,
        class,
        item.split.name(),
        flag(item.is_query),
        flag(item.is_gallery),
        text(&item.category),
        text(&item.camera),
        text(&item.family),
        text(&item.text),
        hash,
    ]
}

/// Bytes that stand for one row in the manifest hash: each cell preceded by its length, so that no two
/// different rows share them.
pub(crate) fn canonical(item: &Item, class: &str, hash: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for cell in cells(item, class, hash) {
        bytes.extend_from_slice(&(cell.len() as u64).to_le_bytes());
        bytes.extend_from_slice(cell.as_bytes());
    }
    bytes
}

/// Writes rows as a manifest: all columns, in item order; `classes[item.label]` is the label.
///
/// # Errors
/// When `out` fails.
///
/// # Panics
/// When a label is no position in `classes`.
pub fn write(out: &mut dyn Write, items: &[Item], classes: &[String]) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(COLUMNS)?;
    for item in items {
        csv.write_record(cells(item, &classes[item.label as usize], item.hash.as_deref().unwrap_or("")))?;
    }
    csv.flush()
}

/// How the manifest at `manifest` names the file at `picture`: below its own folder relatively and with `/`,
/// elsewhere absolutely.
pub(crate) fn path_from(manifest: &Path, picture: &Path) -> Result<String, DatasetError> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(|err| DatasetError::io(path, err));
    let picture = absolute(picture)?;
    let manifest = absolute(manifest)?;
    let shown = match manifest.parent().and_then(|folder| picture.strip_prefix(folder).ok()) {
        Some(below) => below
            .components()
            .map(|part| part.as_os_str().to_str())
            .collect::<Option<Vec<_>>>()
            .map(|p| p.join("/")),
        None => picture.to_str().map(str::to_owned),
    };
    shown.ok_or_else(|| DatasetError::NotUtf8 { path: picture.display().to_string() })
}
