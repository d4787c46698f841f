//! Rows read where they lie: the same as the rows that are copied, or none.

use deepembed_data::vectors::{Element, Format, Select, VectorFile, VectorWriter};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::tempdir;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/vectors").join(name)
}

fn write(path: &Path, dim: usize, values: &[f32]) {
    let mut out = VectorWriter::create(path, Element::F32, dim).unwrap();
    out.push(values).unwrap();
    out.finish().unwrap();
}

#[test]
fn borrowed_rows_are_the_rows_that_are_read() {
    for name in ["small.fbin", "f32.npy", "two.safetensors", "kinds.safetensors#f32", "latest.hdf5#plain"] {
        let file = VectorFile::open(&golden(name)).unwrap();
        assert_eq!(file.element(), Element::F32, "{name}");
        for rows in [0..file.len(), 1..3, file.len() - 1..file.len(), 2..2, file.len()..file.len()] {
            let copied = file.read(rows.clone()).unwrap();
            assert_eq!(file.borrowed(rows.clone()).unwrap(), copied, "{name} {rows:?}");
        }
        assert_eq!(file.borrowed(0..file.len() + 1), None, "{name}");
        #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
        let backwards = 2..1;
        assert_eq!(file.borrowed(backwards), None, "{name}");
    }
    // Records have their lengths between the rows, other kinds are no f32, and packed rows are nowhere.
    for name in ["small.fvecs", "small.u8bin", "small.ibin", "f64.npy", "f16.npy"] {
        let file = VectorFile::open(&golden(name)).unwrap();
        assert_eq!(file.borrowed(0..1), None, "{name}");
    }
    let packed = VectorFile::open(&golden("packed.hdf5#shuffled")).unwrap();
    assert_eq!(packed.borrowed(0..1), None);
}

#[test]
fn bytes_in_memory_are_lent_too() {
    let bytes = fs::read(golden("small.fbin")).unwrap();
    let select = Select { format: Some(Format::Fbin), part: None };
    let file = VectorFile::from_bytes("small", bytes, &select).unwrap();
    assert_eq!(file.borrowed(0..11).unwrap(), file.read(0..11).unwrap());
}

#[test]
fn rows_that_are_no_coordinates_are_not_lent() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("v.npy");
    let mut values = vec![1.0; 3 * 2000];
    values[4000] = f32::NAN;
    write(&path, 3, &values);
    let file = VectorFile::open(&path).unwrap();
    // Value 4000 is row 1333's second.
    assert_eq!(file.borrowed(0..1333).unwrap().len(), 3999);
    assert_eq!(file.borrowed(0..2000), None);
    assert!(file.read(0..2000).unwrap_err().to_string().contains("row 1333, column 1: NaN"));
    assert_eq!(file.borrowed(1334..2000).unwrap().len(), 1998);
}

#[test]
fn values_at_odd_places_are_copied_only() {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), } ";
    for pad in 0..4 {
        let header = format!("{header}{}\n", " ".repeat(pad));
        let length = (header.len() as u16).to_le_bytes();
        let head = [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes()].concat();
        let values: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let folder = tempdir().unwrap();
        let path = folder.path().join("v.npy");
        fs::write(&path, [&head[..], &values].concat()).unwrap();
        let file = VectorFile::open(&path).unwrap();
        assert_eq!(file.read(0..1).unwrap(), [1.5, -2.0]);
        assert_eq!(file.borrowed(0..1).is_some(), head.len().is_multiple_of(4), "{}", head.len());
    }
}

#[test]
fn a_file_cut_before_it_is_mapped_lends_nothing() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("v.fbin");
    write(&path, 2, &[1.0; 20]);
    let file = VectorFile::open(&path).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(8 + 5 * 8).unwrap();
    assert_eq!(file.borrowed(0..10), None);
    assert!(file.read(0..10).unwrap_err().to_string().contains("became shorter"));
    assert_eq!(file.borrowed(0..5).unwrap(), [1.0; 10]);
}

#[test]
fn threads_share_a_file() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("v.safetensors");
    let values: Vec<f32> = (0..8000).map(|value| value as f32).collect();
    write(&path, 8, &values);
    let file = VectorFile::open(&path).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(file.borrowed(10..1000).unwrap(), &values[80..]));
        }
    });
}
