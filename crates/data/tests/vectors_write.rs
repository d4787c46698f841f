//! Files of vectors that we write: read back, by another kind, in part, and what is refused.

use deepembed_data::vectors::{
    ConvertError, Element, Format, GroundTruth, RangeTruth, Rounding, RowSlice, Select, VectorFile,
    VectorFileError, VectorSet, VectorWriteError, VectorWriter, copy_rows,
};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::tempdir;

/// Formats that are written.
fn written() -> Vec<Format> {
    let arrow = cfg!(feature = "arrow");
    let can = |format: &Format| match format {
        Format::Hdf5 => false,
        Format::Parquet | Format::Arrow => arrow,
        _ => true,
    };
    Format::ALL.into_iter().filter(can).collect()
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/vectors").join(name)
}

fn write(path: &Path, element: Element, dim: usize, pieces: &[&[u8]]) -> Result<u64, VectorWriteError> {
    let mut out = VectorWriter::create(path, element, dim)?;
    for piece in pieces {
        out.push_bytes(piece)?;
    }
    out.finish()
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_format_and_kind_comes_back(
        dim in 1usize..40, rows in 1usize..60, cut in 0usize..60, seed in any::<u8>(),
    ) {
        let folder = tempdir().unwrap();
        for format in written() {
            for element in Element::ALL {
                if format.element().is_some_and(|holds| holds != element) {
                    continue;
                }
                let path = folder.path().join(format!("v.{format}"));
                let row = dim * element.size();
                let bytes: Vec<u8> = (0..rows * row).map(|i| (i as u8).wrapping_mul(37).wrapping_add(seed)).collect();
                let (head, tail) = bytes.split_at(cut.min(rows) * row);
                prop_assert_eq!(write(&path, element, dim, &[head, tail]).unwrap(), rows as u64);
                let file = VectorFile::open(&path).unwrap();
                prop_assert_eq!((file.len(), file.dim(), file.element(), file.format()), (rows, dim, element, format));
                prop_assert_eq!(&file.read_bytes(0..rows).unwrap(), &bytes);
                let part = cut.min(rows)..rows;
                prop_assert_eq!(&file.read_bytes(part).unwrap(), tail);
            }
        }
        prop_assert_eq!(names_in(folder.path()).len(), written().len());
    }
}

#[test]
fn numpy_and_others_made_the_same_bytes() {
    for name in [
        "small.fvecs",
        "small.ivecs",
        "small.bvecs",
        "small.fbin",
        "small.u8bin",
        "small.i8bin",
        "small.ibin",
    ] {
        let folder = tempdir().unwrap();
        let path = folder.path().join(name);
        let file = VectorFile::open(&golden(name)).unwrap();
        let mut out = VectorWriter::create(&path, file.element(), file.dim()).unwrap();
        copy_rows(&file, 0..file.len(), &mut out, Rounding::Exact, &mut |_| true).unwrap();
        out.finish().unwrap();
        assert_eq!(fs::read(path).unwrap(), fs::read(golden(name)).unwrap(), "{name}");
    }
}

#[test]
fn large_files_are_read_in_pieces() {
    // 12 MiB: several pieces of 4 MiB, and rows that do not divide them.
    let (rows, dim) = (10_007, 311);
    let values: Vec<f32> = (0..rows * dim).map(|i| (i % 9973) as f32 - 4000.5).collect();
    let folder = tempdir().unwrap();
    for format in written().into_iter().filter(|format| format.element().is_none_or(|e| e == Element::F32)) {
        let path = folder.path().join(format!("v.{format}"));
        let mut out = VectorWriter::create(&path, Element::F32, dim).unwrap();
        out.push(&values).unwrap();
        out.finish().unwrap();
        let file = VectorFile::open(&path).unwrap();
        assert!(file.read(0..rows).unwrap() == values, "{format}");
        let mut part = vec![0.0; 5000 * dim];
        file.read_into(5000, &mut part).unwrap();
        assert!(part == values[5000 * dim..10_000 * dim], "{format}");
    }
}

#[test]
fn kinds_are_changed_exactly_or_not_at_all() {
    let folder = tempdir().unwrap();
    let from = folder.path().join("a.npy");
    let values = [1.0f32, 2.0, 255.0, 0.5, 7.0, 8.0];
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    write(&from, Element::F32, 2, &[&bytes]).unwrap();
    let file = VectorFile::open(&from).unwrap();
    let to = folder.path().join("b.u8bin");
    let copy = |rows, rounding| {
        let mut out = VectorWriter::create(&to, Element::U8, 2).unwrap();
        copy_rows(&file, rows, &mut out, rounding, &mut |_| true)?;
        out.finish().map_err(ConvertError::from)
    };
    let error = copy(0..3, Rounding::Exact).unwrap_err();
    assert_eq!(
        error.to_string(),
        "row 1, column 1: 0.5 does not fit u8 exactly; round, or choose a wider kind"
    );
    assert!(!to.exists(), "a refused file is not there");
    assert_eq!(names_in(folder.path()), ["a.npy"], "and leaves nothing behind");
    assert_eq!(copy(0..3, Rounding::Nearest).unwrap(), 3);
    assert_eq!(VectorFile::open(&to).unwrap().read(0..3).unwrap(), [1.0, 2.0, 255.0, 0.0, 7.0, 8.0]);
    assert_eq!(copy(2..3, Rounding::Exact).unwrap(), 1);
    assert_eq!(VectorFile::open(&to).unwrap().read(0..1).unwrap(), [7.0, 8.0]);
    let mut out = VectorWriter::create(&to, Element::U8, 2).unwrap();
    let stopped = copy_rows(&file, 0..3, &mut out, Rounding::Nearest, &mut |_| false);
    assert!(matches!(stopped, Err(ConvertError::Stopped)));
    drop(out);
    assert_eq!(VectorFile::open(&to).unwrap().len(), 1, "the older file is as it was");
}

#[test]
fn values_that_are_no_coordinates_are_refused_with_their_row() {
    let folder = tempdir().unwrap();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for format in
            written().into_iter().filter(|format| format.element().is_none_or(|e| e == Element::F32))
        {
            let path = folder.path().join(format!("v.{format}"));
            let mut out = VectorWriter::create(&path, Element::F32, 3).unwrap();
            out.push(&[0.0; 9]).unwrap();
            out.push(&[1.0, bad, 1.0]).unwrap();
            out.finish().unwrap();
            let file = VectorFile::open(&path).unwrap();
            assert_eq!(file.read(0..3).unwrap(), [0.0; 9]);
            let error = file.read(1..4).unwrap_err();
            assert!(matches!(error, VectorFileError::Value { row: 3, column: 1, .. }), "{error}");
            let mut out = VectorWriter::create(&folder.path().join("out.npy"), Element::F32, 3).unwrap();
            let error = copy_rows(&file, 0..4, &mut out, Rounding::Nearest, &mut |_| true).unwrap_err();
            assert!(error.to_string().contains("row 3, column 1"), "{error}");
        }
    }
    let wide = folder.path().join("wide.npy");
    let mut bytes = 1.5f64.to_le_bytes().to_vec();
    bytes.extend(1e300f64.to_le_bytes());
    write(&wide, Element::F64, 1, &[&bytes]).unwrap();
    let file = VectorFile::open(&wide).unwrap();
    assert_eq!(file.read(0..1).unwrap(), [1.5]);
    assert!(file.read(0..2).unwrap_err().to_string().contains("row 1, column 0: 1e300 is beyond f32"));
    assert!(file.read_ids(0..1).unwrap_err().to_string().contains("1.5 is no id"));
    let ids = folder.path().join("ids.ivecs");
    write(&ids, Element::I32, 1, &[&16_777_217i32.to_le_bytes()]).unwrap();
    let file = VectorFile::open(&ids).unwrap();
    assert!(file.read(0..1).unwrap_err().to_string().contains("ids are read as whole numbers"));
    assert_eq!(file.read_ids(0..1).unwrap(), [16_777_217]);
}

#[test]
fn what_cannot_be_written_is_said() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let create = |name: &str, element, dim| VectorWriter::create(&path(name), element, dim);
    for (error, words) in [
        (create("a.txt", Element::F32, 4).unwrap_err(), "the end of the name says no format"),
        (create("a.hdf5", Element::F32, 4).unwrap_err(), "HDF5 files are read, not written"),
        (create("a.fvecs", Element::U8, 4).unwrap_err(), ".fvecs holds f32, not u8"),
        (create("a.npy", Element::F32, 0).unwrap_err(), "vectors of 0 values"),
        (create("a.npy", Element::F32, 1 << 21).unwrap_err(), "vectors of 2097152 values"),
        (create("no/a.npy", Element::F32, 4).unwrap_err(), "cannot write"),
        (write(&path("a.fvecs"), Element::F32, 4, &[]).unwrap_err(), "needs one row at least"),
        (write(&path("a.npy"), Element::F32, 2, &[&[0; 12]]).unwrap_err(), "12 bytes are no rows of 8"),
        (create("a.npy", Element::U8, 1).unwrap().push(&[1.0]).unwrap_err(), "holds u8, not f32"),
    ] {
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(names_in(folder.path()).is_empty());
    assert_eq!(write(&path("none.npy"), Element::F32, 4, &[]).unwrap(), 0);
    let none = VectorFile::open(&path("none.npy")).unwrap();
    assert!(none.is_empty() && none.read(0..0).unwrap().is_empty());
    assert!(none.read(0..1).unwrap_err().to_string().contains("rows 0..1 asked for, it has 0"));
}

#[test]
fn right_answers_are_written_and_read_back() {
    let folder = tempdir().unwrap();
    let truth = GroundTruth::new(2, vec![5, 6, 7, u32::MAX], Some(vec![0.5, 1.0, 2.0, 3.0])).unwrap();
    for name in ["t.bin", "t.ibin"] {
        truth.write(&folder.path().join(name)).unwrap();
        assert_eq!(GroundTruth::open(&folder.path().join(name)).unwrap(), truth);
    }
    let error = truth.write(&folder.path().join("t.ivecs")).unwrap_err().to_string();
    assert!(error.contains("row 4294967295 is beyond .ivecs"), "{error}");
    let ids = GroundTruth::new(2, vec![5, 6, 7, 8], None).unwrap();
    ids.write(&folder.path().join("t.ivecs")).unwrap();
    assert_eq!(GroundTruth::open(&folder.path().join("t.ivecs")).unwrap(), ids);
    // Ids alone, from every file that holds them.
    for name in ["u.bin", "u.ibin", "u.npy"] {
        ids.write(&folder.path().join(name)).unwrap();
        assert_eq!(GroundTruth::open(&folder.path().join(name)).unwrap(), ids, "{name}");
    }
    assert_eq!(VectorFile::open(&folder.path().join("u.ibin")).unwrap().read_ids(1..2).unwrap(), [7, 8]);
    truth.write(&folder.path().join("v.npy")).unwrap();
    let back = GroundTruth::open(&folder.path().join("v.npy")).unwrap();
    assert_eq!((back.ids(1), back.distances(1)), (&[7, u32::MAX][..], None), "u32 holds every id");
    let nan = GroundTruth::new(1, vec![1], Some(vec![f32::NAN])).unwrap();
    assert!(nan.write(&folder.path().join("n.bin")).unwrap_err().to_string().contains("distance 0 is NaN"));
    for name in ["t.fvecs", "t.txt", "t"] {
        let error = ids.write(&folder.path().join(name)).unwrap_err().to_string();
        assert!(error.contains("written as .ivecs, .npy, .ibin or .bin"), "{error}");
    }
    // The benchmarks' vectors of ids have no distances either.
    let small = GroundTruth::open(&golden("small.ibin")).unwrap();
    assert_eq!((small.len(), small.k(), small.distances(0)), (11, 6, None));
    let error = GroundTruth::open(&golden("small.ivecs")).unwrap_err().to_string();
    assert!(error.contains("row 0, column 0: -2147483648 is no row"), "{error}");
    assert_eq!(GroundTruth::new(3, vec![1, 2], None), None);
    assert_eq!(GroundTruth::new(0, vec![], None), None);
}

#[test]
fn answers_within_a_radius_are_written_and_read_back() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let counts = [2, 0, 3];
    let range =
        RangeTruth::new(&counts, vec![9, 4, 1, 2, 3], vec![0.0, 0.5, 1.0, 1.5, f32::INFINITY]).unwrap();
    for name in ["a.rangeres", "ssnpp-1M"] {
        range.write(&path(name)).unwrap();
        assert_eq!(RangeTruth::open(&path(name)).unwrap(), range);
    }
    assert_eq!((range.len(), range.of(1).0.len(), range.of(2).0), (3, 0, &[1, 2, 3][..]));
    let none = RangeTruth::new(&[], vec![], vec![]).unwrap();
    none.write(&path("none")).unwrap();
    assert!(RangeTruth::open(&path("none")).unwrap().is_empty());
    // The published file, byte for byte.
    let published = RangeTruth::open(&golden("range.rangeres")).unwrap();
    published.write(&path("copy")).unwrap();
    assert_eq!(fs::read(path("copy")).unwrap(), fs::read(golden("range.rangeres")).unwrap());
    assert_eq!(RangeTruth::new(&[1], vec![1, 2], vec![0.0; 2]), None, "an answer of no query");
    assert_eq!(RangeTruth::new(&[2], vec![1, 2], vec![0.0]), None, "an answer without distance");
    assert_eq!(RangeTruth::new(&[usize::MAX, 2], vec![1], vec![0.0]), None);
    for (name, id, distance, words) in [
        ("a.ibin", 1, 0.0, "are no .ibin file"),
        ("a", 1 << 31, 0.0, "row 2147483648 is beyond such a file"),
        ("a", 1, f32::NAN, "distance 0 is NaN"),
    ] {
        let error = RangeTruth::new(&[1], vec![id], vec![distance]).unwrap().write(&path(name)).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn published_sets_are_found_by_their_files() {
    let folder = tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let at = |set: &str| VectorSet::find(&format!("{set}:{}", folder.path().display()));
    let rows: Vec<u8> = [0.0f32; 8].iter().flat_map(|v| v.to_le_bytes()).collect();
    for name in ["sift_base.fvecs", "sift_query.fvecs", "deep1B_queries.fvecs"] {
        write(&place(name), Element::F32, 4, &[&rows]).unwrap();
    }
    let missing = at("sift1m").unwrap_err().to_string();
    assert!(missing.contains("has no right answers: none of sift_groundtruth.ivecs"), "{missing}");
    write(&place("sift_groundtruth.ivecs"), Element::I32, 2, &[&[1, 0, 0, 0, 0, 0, 0, 0]]).unwrap();
    let sift = at("sift1m").unwrap();
    assert_eq!((sift.base, sift.learn, sift.rows), (place("sift_base.fvecs"), None, None));
    assert_eq!(GroundTruth::open(&sift.truth).unwrap().ids(0), [1, 0]);
    write(&place("sift_learn.fvecs"), Element::F32, 4, &[&rows]).unwrap();
    assert_eq!(at("sift1m").unwrap().learn, Some(place("sift_learn.fvecs")));

    fs::create_dir(place("gnd")).unwrap();
    for name in ["bigann_base.bvecs", "bigann_query.bvecs"] {
        write(&place(name), Element::U8, 4, &[&[0; 8]]).unwrap();
    }
    write(&place("gnd/idx_10M.ivecs"), Element::I32, 1, &[&[0; 4]]).unwrap();
    let ten = at("sift10m").unwrap();
    assert_eq!(
        (ten.base, ten.rows, ten.truth),
        (place("bigann_base.bvecs"), Some(10_000_000), place("gnd/idx_10M.ivecs"))
    );
    assert!(
        at("sift1b")
            .unwrap_err()
            .to_string()
            .contains("gnd/idx_1000M.ivecs, bigann-1000M, GT.public.1B.ibin")
    );

    fs::write(place("base.1B.fbin.crop_nb_10000000"), [[1, 0, 0, 0], [1, 0, 0, 0], [0; 4]].concat()).unwrap();
    let truth = GroundTruth::new(1, vec![0], Some(vec![0.0])).unwrap();
    truth.write(&place("d.bin")).unwrap();
    fs::rename(place("d.bin"), place("deep-10M")).unwrap();
    let deep = at("deep10m").unwrap();
    assert_eq!(VectorFile::open(&deep.base).unwrap().read(0..1).unwrap(), [0.0]);
    assert_eq!(GroundTruth::open(&deep.truth).unwrap(), truth);

    let ann = VectorSet::find(golden("ann.hdf5").to_str().unwrap()).unwrap();
    assert_eq!(VectorFile::open(&ann.queries).unwrap().len(), 7);
    assert_eq!((ann.name.as_str(), ann.unit), ("ann", false));
    assert_eq!(GroundTruth::open(&ann.truth).unwrap().len(), 7);
    for unknown in ["sift3m:x", "deep2m:x", "sift1m", "glove:x", ""] {
        assert!(
            matches!(VectorSet::find(unknown), Err(deepembed_data::vectors::VectorSetError::Name(_))),
            "{unknown}"
        );
    }
}

#[test]
fn the_format_can_be_named() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("vectors.dat");
    fs::copy(golden("small.fvecs"), &path).unwrap();
    assert!(VectorFile::open(&path).unwrap_err().to_string().contains("the end of the name says no format"));
    let select = Select { format: Some(Format::Fvecs), part: None };
    assert_eq!(VectorFile::open_with(&path, &select).unwrap().len(), 11);
    assert_eq!(RowSlice::First(5).of(11), Ok(0..5));
    assert!(VectorFile::open(folder.path()).is_err());
    assert!(matches!(VectorFile::open(&folder.path().join("no.npy")), Err(VectorFileError::Io { .. })));
}
