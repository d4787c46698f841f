//! Damaged files of vectors: every cut and every flipped byte of every golden file, and sizes that lie. A reader may
//! read another number out of a flipped byte; it may not panic, hang, or take memory that the file cannot fill.

use deepembed_data::vectors::{Format, GroundTruth, RangeTruth, Select, VectorFile, VectorFileError};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of a file that is large enough to be tried in steps.
const STEP_FROM: usize = 2_000;

fn golden() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/vectors");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn is_read(format: Format) -> bool {
    cfg!(feature = "arrow") || !matches!(format, Format::Parquet | Format::Arrow)
}

/// The golden files of one of `formats`.
fn files(formats: &[Format]) -> Vec<(Format, PathBuf)> {
    let all = golden().into_iter().filter_map(|path| Some((Format::of(&path)?, path)));
    all.filter(|(format, _)| formats.contains(format) && is_read(*format)).collect()
}

/// Reads all that `bytes` offer, as often as there are parts to name.
fn read(format: Format, name: &str, bytes: &[u8]) -> Result<Vec<u8>, VectorFileError> {
    let part = match (format, name) {
        (Format::Hdf5, "packed.hdf5") => Some("shuffled".to_owned()),
        (Format::Hdf5, "latest.hdf5") => Some("packed".to_owned()),
        (Format::Safetensors, "kinds.safetensors") => Some("f32".to_owned()),
        _ => None,
    };
    let file = VectorFile::from_bytes(name, bytes.to_vec(), &Select { format: Some(format), part })?;
    // Values may be anything now; that reading them ends is what counts.
    let _ = file.read(0..file.len().min(100));
    let _ = file.read_ids(0..file.len().min(100));
    let _ = file.distance();
    // All of them: what a file promises must be little more than it holds.
    file.read_bytes(0..file.len())
}

/// Cuts and flips every file, `every`th byte of the large ones.
fn torture(formats: &[Format], every: usize) {
    for (format, path) in files(formats) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let sound = fs::read(&path).unwrap();
        let want = read(format, &name, &sound).unwrap_or_else(|error| panic!("{error}"));
        assert!(!want.is_empty(), "{name}");
        let step = if sound.len() > STEP_FROM { every } else { 1 };
        let ends = sound.len().saturating_sub(300);
        let places = |step| (0..sound.len()).filter(move |at| at % step == 0 || *at < 700 || *at > ends);
        for cut in places(step) {
            let Err(error) = read(format, &name, &sound[..cut]) else {
                // Records that end with a row are a smaller sound file.
                assert!(
                    matches!(
                        format,
                        Format::Fvecs | Format::Ivecs | Format::Bvecs | Format::Hdf5 | Format::Arrow
                    ),
                    "{name} cut at {cut} reads"
                );
                continue;
            };
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        let mut bytes = sound.clone();
        for at in places(step) {
            for flip in [0x01, 0x80, 0xff] {
                bytes[at] ^= flip;
                if let Err(error) = read(format, &name, &bytes) {
                    assert!(error.to_string().contains(&name), "{error}");
                }
                bytes[at] ^= flip;
            }
        }
        assert_eq!(read(format, &name, &bytes).unwrap(), want);
    }
}

#[test]
fn records_and_heads() {
    torture(
        &[
            Format::Fvecs,
            Format::Ivecs,
            Format::Bvecs,
            Format::Fbin,
            Format::U8bin,
            Format::I8bin,
            Format::Ibin,
        ],
        1,
    );
}

#[test]
fn npy_and_safetensors() {
    torture(&[Format::Npy, Format::Safetensors], 1);
}

#[test]
fn hdf5() {
    torture(&[Format::Hdf5], 7);
}

#[test]
fn parquet() {
    torture(&[Format::Parquet], 3);
}

#[test]
fn arrow() {
    torture(&[Format::Arrow], 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Several places at once, words of zeros and ones among them: what single flips do not reach.
    #[test]
    fn several_places_at_once(
        places in prop::collection::vec((any::<prop::sample::Index>(), 0usize..4, any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let all: Vec<Format> = Format::ALL.to_vec();
        for (format, path) in files(&all) {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let mut bytes = fs::read(&path).unwrap();
            for (place, kind, value) in &places {
                let at = place.index(bytes.len());
                let end = (at + 8).min(bytes.len());
                match kind {
                    0 => bytes[at] = *value,
                    1 => bytes[at..end].fill(0),
                    2 => bytes[at..end].fill(0xff),
                    _ => bytes[at..].rotate_left(1),
                }
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let _ = read(format, &name, &bytes);
        }
    }
}

#[test]
fn right_answers() {
    let truth = |bytes: &[u8]| GroundTruth::from_bytes("truth.bin", bytes.to_vec()).map(|_| ());
    let range = |bytes: &[u8]| RangeTruth::from_bytes("range", bytes.to_vec()).map(|_| ());
    type Reader<'a> = &'a dyn Fn(&[u8]) -> Result<(), VectorFileError>;
    for (name, read) in [("truth.bin", &truth as Reader<'_>), ("range.rangeres", &range)] {
        let path = golden().into_iter().find(|path| path.ends_with(name)).unwrap();
        let mut bytes = fs::read(path).unwrap();
        read(&bytes).unwrap();
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut]).is_err() || cut == 8 + 48, "{name} cut at {cut}");
        }
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                bytes[at] ^= flip;
                let _ = read(&bytes);
                bytes[at] ^= flip;
            }
        }
        bytes.push(0);
        assert!(read(&bytes).is_err(), "{name} with a byte more");
    }
}

/// Words at the start of an error for bytes of a format.
fn refused(format: Format, bytes: &[u8], words: &str) {
    let select = Select { format: Some(format), part: None };
    let read = VectorFile::from_bytes("hostile", bytes.to_vec(), &select)
        .and_then(|file| file.read_bytes(0..file.len()).map(|_| ()));
    let error = read.unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn sizes_that_lie_take_no_memory() {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    refused(Format::Fvecs, &[], "the file is empty");
    refused(Format::Fvecs, &words(&[0]), "vectors of 0 values");
    refused(Format::Fvecs, &words(&[u32::MAX]), "vectors of 0 values");
    refused(Format::Fvecs, &words(&[1 << 30, 0]), "there are 1 to 1048576");
    refused(
        Format::Fvecs,
        &words(&[2, 0, 0, 2, 0]),
        "data end at byte 20, row 1, 2 values of f32 from byte 12 on, needs 24",
    );
    refused(Format::Fvecs, &words(&[1, 0, 2, 0]), "row 1 at byte 8 says 2 values, row 0 says 1");
    refused(
        Format::Fbin,
        &words(&[u32::MAX, 1 << 20]),
        "data end at byte 8, 4294967295 x 1048576 values of f32 needs",
    );
    refused(Format::Fbin, &words(&[1, u32::MAX]), "there are 1 to 1048576");
    refused(Format::Fbin, &words(&[1, 1, 0, 0]), "4 bytes follow the 1 x 1 values of f32");
    refused(Format::Ibin, &words(&[1, 1, 0, 0]), "they look like distances, so open it as ground truth");
    refused(Format::Safetensors, &u64::MAX.to_le_bytes(), "a header of 18446744073709551615 bytes");
    refused(
        Format::Safetensors,
        &[&9u64.to_le_bytes()[..], b"{"].concat(),
        "data end at byte 9, the header needs 17",
    );
    let tensor = br#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#;
    refused(
        Format::Safetensors,
        &[&(tensor.len() as u64).to_le_bytes()[..], tensor].concat(),
        "do not fit any file",
    );
    let huge = b"{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 1), }";
    refused(Format::Npy, &[&b"\x93NUMPY\x01\x00\x4e\x00"[..], huge].concat(), "do not fit any file");
    refused(Format::Npy, &b"\x93NUMPY\x02\x00\xff\xff\xff\xff"[..], "a header of 4294967295 bytes");
}

#[test]
fn npy_files_of_other_kinds_name_the_way_out() {
    let npy = |header: &str| {
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), &[0; 64]].concat()
    };
    let with = |descr: &str, fortran: &str, shape: &str| {
        npy(&format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"))
    };
    refused(Format::Npy, &with("<f4", "True", "(4, 4)"), "numpy.ascontiguousarray");
    refused(
        Format::Npy,
        &with(">f4", "False", "(4, 4)"),
        "values are big-endian (`>f4`); save a.astype('<f4')",
    );
    refused(Format::Npy, &with("<c8", "False", "(4, 2)"), "values are `<c8`; save a.astype");
    refused(Format::Npy, &with("=f4", "False", "(4, 4)"), "byte order");
    refused(Format::Npy, &with("<f4", "False", "(16,)"), "1 axes; vectors are an array of 2");
    refused(Format::Npy, &with("<f4", "False", "(3, 4)"), "16 bytes follow the 3 x 4 values of f32");
    let one_row = with("<f4", "True", "(1, 16)");
    let select = Select { format: Some(Format::Npy), part: None };
    assert_eq!(VectorFile::from_bytes("row", one_row, &select).unwrap().dim(), 16, "one row has one order");
}
