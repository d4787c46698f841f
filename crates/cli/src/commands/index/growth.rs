//! What the commands that change an index have in common.

use crate::context::Context;
use crate::failure::{Code, Failure, Outcome};
use data::Id;
use index::{Committed, SegmentInfo};
use serde_json::{Value, json};
use std::path::Path;

/// Says what a commit did; `more` are keys of the command's own.
pub fn report(context: &Context, index: &Path, done: &Committed, text: &str, more: Value) -> Outcome {
    let Committed { generation, rows, bytes, segments } = done;
    let mut value = json!({
        "index": index, "rows": rows, "bytes": bytes, "generation": generation, "segments": segments,
    });
    if let (Some(all), Value::Object(more)) = (value.as_object_mut(), more) {
        all.extend(more);
    }
    let text = format!("{}: {text}; {rows} rows in {}, {bytes} bytes", index.display(), list(segments));
    Ok(context.talk.result(&value, text)?)
}

/// Segments in a few words.
pub fn list(segments: &[SegmentInfo]) -> String {
    let one = |SegmentInfo { spec, rows, live }: &SegmentInfo| match rows - live {
        0 => format!("{spec} of {rows}"),
        dead => format!("{spec} of {rows} less {dead} removed"),
    };
    match segments {
        [] => "no segment".into(),
        [only] => one(only),
        some => format!("{} segments ({})", some.len(), some.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}

/// Ids with commas between them; none for other text.
pub fn parse_ids(text: &str) -> Option<Vec<Id>> {
    text.split(',').map(|word| word.trim().parse().ok()).collect()
}

/// Reads a text file with an id a line.
pub fn read_ids(path: &Path) -> Outcome<Vec<Id>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(
            Code::Failed,
            anyhow::Error::new(error).context(format!("cannot read {}", path.display())),
        )
    })?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            line.trim().parse().map_err(|_| {
                let why = format!("{}: line {} is no id: \"{}\"", path.display(), at + 1, line.trim());
                Failure::message(Code::Usage, why)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_listed_or_in_a_file() {
        assert_eq!(parse_ids("3, 17,40"), Some(vec![3, 17, 40]));
        assert_eq!(parse_ids("ids.txt"), None);
        assert_eq!(parse_ids("-3"), None);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids.txt");
        std::fs::write(&path, "7\n\n9 \n").unwrap();
        assert_eq!(read_ids(&path).unwrap(), [7, 9]);
        std::fs::write(&path, "7\nx\n").unwrap();
        assert!(read_ids(&path).unwrap_err().line().contains("line 2 is no id: \"x\""));
        assert!(read_ids(&folder.path().join("none")).unwrap_err().line().contains("cannot read"));
    }

    #[test]
    fn segments_in_a_few_words() {
        let segment = |rows, live| SegmentInfo { spec: "HNSW16".into(), rows, live };
        assert_eq!(list(&[]), "no segment");
        assert_eq!(list(&[segment(5, 5)]), "HNSW16 of 5");
        assert_eq!(
            list(&[segment(9, 7), segment(2, 2)]),
            "2 segments (HNSW16 of 9 less 2 removed, HNSW16 of 2)"
        );
    }
}
