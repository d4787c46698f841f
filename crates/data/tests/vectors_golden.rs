//! Files that numpy, h5py, pyarrow and safetensors wrote, against the values that they put in. The files and
//! vectors.json come from golden/vectors.py.

use deepembed_data::vectors::{
    Element, Format, GroundTruth, Number, RangeTruth, Rounding, Select, VectorFile,
};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Golden {
    files: Vec<Entry>,
    truth: Truth,
}

#[derive(Deserialize)]
struct Entry {
    file: String,
    part: Option<String>,
    element: String,
    shape: [usize; 2],
    values: Vec<serde_json::Number>,
}

#[derive(Deserialize)]
struct Truth {
    ids: Vec<Vec<u32>>,
    distances: Vec<Vec<f32>>,
    counts: Vec<usize>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/vectors")
}

fn golden() -> Golden {
    serde_json::from_slice(&std::fs::read(folder().join("vectors.json")).unwrap()).unwrap()
}

/// The golden values as the file stores them.
fn stored(entry: &Entry, element: Element) -> Vec<u8> {
    let mut out = Vec::new();
    for value in &entry.values {
        let number = match value.as_i64() {
            Some(whole) => Number::Whole(whole),
            None => Number::Float(value.as_f64().unwrap()),
        };
        assert!(element.put(number, Rounding::Exact, &mut out), "{value}");
    }
    out
}

fn is_read(format: Format) -> bool {
    cfg!(feature = "arrow") || !matches!(format, Format::Parquet | Format::Arrow)
}

#[test]
fn every_file_holds_what_was_written() {
    let golden = golden();
    let mut read = 0;
    for entry in &golden.files {
        let path = folder().join(&entry.file);
        let name = format!("{} {:?}", entry.file, entry.part);
        if !is_read(Format::of(&path).unwrap()) {
            continue;
        }
        let select = Select { part: entry.part.clone(), ..Select::default() };
        let file = VectorFile::open_with(&path, &select).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!([file.len(), file.dim()], entry.shape, "{name}");
        assert_eq!(file.element().name(), entry.element, "{name}");
        let want = stored(entry, file.element());
        assert_eq!(file.read_bytes(0..file.len()).unwrap(), want, "{name}");
        // Rows from anywhere, also behind the last ones read.
        let row = file.row_bytes();
        for rows in [file.len() / 2..file.len(), 1..file.len() / 2 + 1, 0..1, file.len()..file.len()] {
            let bytes = file.read_bytes(rows.clone()).unwrap();
            assert_eq!(bytes, want[rows.start * row..rows.end * row], "{name} {rows:?}");
        }
        if matches!(file.element(), Element::F32 | Element::F16 | Element::U8 | Element::I8) {
            let floats: Vec<f32> = entry.values.iter().map(|value| value.as_f64().unwrap() as f32).collect();
            assert_eq!(file.read(0..file.len()).unwrap(), floats, "{name}");
        }
        if !file.element().is_float() {
            let ids: Vec<i64> = entry.values.iter().map(|value| value.as_i64().unwrap()).collect();
            assert_eq!(file.read_ids(0..file.len()).unwrap(), ids, "{name}");
        }
        read += 1;
    }
    assert!(read > 45, "only {read} files were read");
}

#[test]
fn parts_are_found_without_being_named() {
    let open = |name: &str| VectorFile::open(&folder().join(name));
    let ann = open("ann.hdf5").unwrap();
    assert_eq!((ann.part(), ann.distance(), ann.len()), (Some("train"), Some("euclidean"), 300));
    let test = open("ann.hdf5#test").unwrap();
    assert_eq!((test.part(), test.len()), (Some("test"), 7));
    assert_eq!(open("packed.hdf5#/group/inner").unwrap().len(), 7);
    assert_eq!(open("latest.hdf5#plain").unwrap().distance(), Some("angular"));
    assert_eq!(open("two.safetensors").unwrap().part(), Some("vectors"));
    for (file, words) in [
        ("ann.hdf5#nothing", "it holds distances, neighbors, test, train"),
        ("packed.hdf5", "there is no data set train, and several"),
        ("kinds.safetensors", "there are several tensors with two axes; name one"),
        ("two.safetensors#nothing", "it holds other, vectors"),
        ("two.safetensors#other", "tensor other has 1 axes"),
        ("small.fvecs#nothing", "no part nothing"),
    ] {
        let error = open(file).unwrap_err().to_string();
        assert!(error.contains(words), "{file}: {error}");
    }
    if is_read(Format::Arrow) {
        for file in ["list.arrow", "stream.arrow", "lz4.feather", "fixed.parquet"] {
            assert_eq!(open(file).unwrap().part(), Some("vectors"), "{file}");
            let error = open(&format!("{file}#nothing")).unwrap_err().to_string();
            assert!(error.contains("it holds name, vectors, label"), "{file}: {error}");
            let error = open(&format!("{file}#name")).unwrap_err().to_string();
            assert!(error.contains("column name holds Utf8"), "{file}: {error}");
        }
    }
}

#[test]
fn right_answers_of_every_kind() {
    let want = golden().truth;
    let truth = GroundTruth::open(&folder().join("truth.bin")).unwrap();
    assert_eq!((truth.len(), truth.k()), (4, 3));
    for query in 0..4 {
        assert_eq!(truth.ids(query), want.ids[query]);
        assert_eq!(truth.distances(query).unwrap(), want.distances[query]);
    }
    let range = RangeTruth::open(&folder().join("range.rangeres")).unwrap();
    let (ids, distances) = (want.ids.concat(), want.distances.concat());
    let mut start = 0;
    for (query, count) in want.counts.into_iter().enumerate() {
        assert_eq!(range.of(query), (&ids[start..start + count], &distances[start..start + count]));
        start += count;
    }
    let hdf5 = GroundTruth::open(&folder().join("ann.hdf5")).unwrap();
    assert_eq!((hdf5.len(), hdf5.k(), hdf5.ids(0)), (7, 4, &[0, 48, 85, 122][..]));
    assert_eq!(hdf5.distances(6).unwrap().len(), 4);
}
