//! What an index remembers of each row besides its vector: enough to show an answer.

use crate::Dataset;
use serde::{Deserialize, Serialize};

/// One row of an index, in the words of its dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Path of the picture, as the dataset names it.
    pub path: String,
    /// Class.
    pub class: String,
    /// Category, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Camera, source or designer, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<String>,
    /// Words about it, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Record {
    /// The record of one item.
    ///
    /// # Panics
    /// When there is no such item.
    #[must_use]
    pub fn of(dataset: &Dataset, item: usize) -> Self {
        let found = &dataset.items[item];
        Self {
            path: found.path.clone(),
            class: dataset.class(item).to_owned(),
            category: found.category.clone(),
            camera: found.camera.clone(),
            text: found.text.clone(),
        }
    }

    /// Records as JSON lines, row after row.
    ///
    /// # Panics
    /// Never: a record always has a JSON form.
    #[must_use]
    pub fn to_lines(records: &[Self]) -> Vec<u8> {
        let mut lines = Vec::new();
        for record in records {
            serde_json::to_writer(&mut lines, record).expect("a record has a JSON form");
            lines.push(b'\n');
        }
        lines
    }

    /// Reads JSON lines.
    ///
    /// # Errors
    /// Names the first line that is not a record.
    pub fn from_lines(lines: &[u8]) -> Result<Vec<Self>, String> {
        lines
            .split(|&b| b == b'\n')
            .filter(|line| !line.is_empty())
            .enumerate()
            .map(|(row, line)| {
                serde_json::from_slice(line).map_err(|e| format!("row {row} of the index: {e}"))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_their_lines() {
        let record = |path: &str, text: Option<&str>| Record {
            path: path.into(),
            class: "cat".into(),
            category: None,
            camera: Some("Noto".into()),
            text: text.map(str::to_owned),
        };
        let records = vec![record("a.png", None), record("b \"c\"\n.png", Some("ein\nWort"))];
        assert_eq!(Record::from_lines(&Record::to_lines(&records)).unwrap(), records);
        assert!(Record::from_lines(b"{}\n").unwrap_err().starts_with("row 0 of the index"));
    }
}
