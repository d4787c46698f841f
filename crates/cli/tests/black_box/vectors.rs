//! `data convert` and `data info`: files of vectors into each other, and what is said about those that are not right.

use crate::common::{bad, fresh, good, json};
use crate::words;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// A file that golden/vectors.py wrote.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/vectors").join(name)
}

/// Rows of `dim` values as a .npy file.
pub fn npy(path: &Path, dim: usize, values: &[f32]) {
    let shape = format!("({}, {dim})", values.len() / dim);
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_file_goes_round_through_every_format() {
    let folder = fresh();
    let first = golden("small.fvecs");
    let mut from = first.clone();
    for to in ["a.npy", "a.safetensors", "a.fbin", "a.parquet", "a.arrow", "b.fvecs"] {
        let to = folder.path().join(to);
        let value = json(words!["data", "convert", &from, &to]);
        assert_eq!(value, json!({"rows": 11, "dim": 6, "element": "f32", "vectors": to}));
        from = to;
    }
    assert_eq!(fs::read(from).unwrap(), fs::read(first).unwrap(), "the same bytes came back");
}

#[test]
fn rows_and_parts_are_chosen() {
    let folder = fresh();
    let to = folder.path().join("some.fvecs");
    let from = golden("ann.hdf5");
    let all = good(words!["data", "info", &from]).out;
    assert!(all.contains("hdf5, train, 300 x 5 values of f32, distance euclidean"), "{all}");
    for (choice, rows) in [
        (vec!["--first", "20"], 20),
        (vec!["--first", "1K"], 300),
        (vec!["--rows", "10..30"], 20),
        (vec!["--rows", "290.."], 10),
        (vec!["--tensor", "test"], 7),
    ] {
        let words =
            words!["data", "convert", &from, &to].into_iter().chain(choice.into_iter().map(Into::into));
        assert_eq!(json(words)["rows"], rows);
        assert_eq!(json(words!["data", "info", &to])["rows"], rows);
    }
    let part = format!("{}#neighbors", from.display());
    let ids = folder.path().join("near.ivecs");
    good(words!["data", "convert", part, &ids]);
    let info = json(words!["data", "info", &ids]);
    assert_eq!(
        (&info["format"], &info["dim"], &info["element"]),
        (&json!("ivecs"), &json!(4), &json!("i32"))
    );
    bad(
        2,
        &["ann.hdf5: rows 10..400 asked for, there are 300"],
        words!["data", "convert", &from, &to, "--rows", "10..400"],
    );
    bad(2, &["there is no nothing", "train"], words!["data", "convert", &from, &to, "--tensor", "nothing"]);
}

#[test]
fn values_are_kept_or_refused() {
    let folder = fresh();
    let (from, to) = (folder.path().join("v.npy"), folder.path().join("v.u8bin"));
    npy(&from, 2, &[1.0, 2.0, 3.0, 4.25]);
    bad(
        1,
        &["v.u8bin", "row 1, column 1: 4.25 does not fit u8", "--round"],
        words!["data", "convert", &from, &to],
    );
    assert!(!to.exists());
    good(words!["data", "convert", &from, &to, "--round"]);
    assert_eq!(fs::read(&to).unwrap(), [2, 0, 0, 0, 2, 0, 0, 0, 1, 2, 3, 4]);
    let wide = folder.path().join("wide.npy");
    assert_eq!(json(words!["data", "convert", &from, &wide, "--as", "f64"])["element"], "f64");
    bad(2, &[".u8bin holds u8, not f64"], words!["data", "convert", &from, &to, "--as", "f64"]);
    bad(2, &["written over itself"], words!["data", "convert", &from, &from]);
    npy(&from, 2, &[1.0, 2.0, f32::NAN, 4.0]);
    bad(4, &["v.npy: row 1, column 0: NaN is no coordinate"], words!["data", "convert", &from, &wide]);
    assert_eq!(json(words!["data", "info", &wide])["rows"], 2, "the older file is as it was");
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["v.npy", "v.u8bin", "wide.npy"]);
}

#[test]
fn files_that_are_not_right_are_one_line() {
    let folder = fresh();
    let at = |name: &str| folder.path().join(name);
    let cut = |name: &str| {
        let bytes = fs::read(golden(name)).unwrap();
        fs::write(at(name), &bytes[..bytes.len() - 3]).unwrap();
        at(name)
    };
    bad(4, &["small.fvecs: data end at byte 305", "row 10"], words!["data", "info", cut("small.fvecs")]);
    bad(4, &["small.fbin: data end at byte 269"], words!["data", "info", cut("small.fbin")]);
    bad(4, &["f32.npy: data end at byte"], words!["data", "info", cut("f32.npy")]);
    bad(4, &["two.safetensors: data end at byte"], words!["data", "info", cut("two.safetensors")]);
    bad(4, &["fixed.parquet: data end at byte"], words!["data", "info", cut("fixed.parquet")]);
    bad(4, &["fixed.arrow: data end at byte"], words!["data", "info", cut("fixed.arrow")]);
    bad(1, &["no.npy"], words!["data", "info", at("no.npy")]);
    bad(2, &["no format", ".parquet"], words!["data", "info", folder.path().join("v.txt")]);
    let text = at("v.npy");
    fs::write(&text, "hello, this is no array").unwrap();
    bad(4, &["v.npy: it does not start as a .npy file does"], words!["data", "info", &text]);
    bad(2, &["HDF5 files are read, not written"], words!["data", "convert", golden("f32.npy"), at("v.hdf5")]);
    bad(1, &["cannot write", "v.npy"], words!["data", "convert", golden("f32.npy"), at("no/v.npy")]);
}
