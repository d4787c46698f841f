//! What an index file of ours carries beside the vectors: where the pictures are, and a record a row.

use crate::context::Source;
use crate::failure::{Code, Failure, Outcome};
use data::{Id, Record};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Header {
    source: String,
}

/// The payload of an index over the pictures of `source`: a header line, then the records.
pub fn write(source: &Source, records: &[Record]) -> Vec<u8> {
    let source = match source {
        Source::Emoji => source.to_string(),
        Source::Path(path) => path.canonicalize().unwrap_or_else(|_| path.clone()).display().to_string(),
    };
    let mut lines = serde_json::to_vec(&Header { source }).expect("a header has a JSON form");
    lines.push(b'\n');
    lines.extend(Record::to_lines(records));
    lines
}

/// Reads a payload and checks that it has a record for every id below `bound`. There may be more: those of removed
/// pictures stay, so that the others keep their places.
pub fn read(bytes: &[u8], bound: Id) -> Outcome<(Source, Vec<Record>)> {
    let damaged =
        |what: String| Failure::message(Code::Corrupt, format!("the index's records cannot be read: {what}"));
    let end = bytes.iter().position(|&b| b == b'\n').ok_or_else(|| damaged("no header line".into()))?;
    let header: Header = serde_json::from_slice(&bytes[..end]).map_err(|e| damaged(e.to_string()))?;
    let records = Record::from_lines(&bytes[end..]).map_err(damaged)?;
    if (records.len() as u64) < bound {
        return Err(damaged(format!("{} records for {bound} rows", records.len())));
    }
    Ok((header.source.parse().expect("any text is a source"), records))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_survives() {
        let record = Record { path: "a".into(), class: "b".into(), category: None, camera: None, text: None };
        let bytes = write(&Source::Emoji, std::slice::from_ref(&record));
        let (source, records) = read(&bytes, 1).unwrap();
        assert_eq!((source, records), (Source::Emoji, vec![record]));
        assert!(read(&bytes, 2).unwrap_err().line().contains("1 records for 2 rows"));
        assert!(read(b"", 0).is_err());
    }
}
