//! Files that grew and were damaged, or made by somebody hostile; and those of earlier programs.

use crate::oracle::*;
use crate::seal::seal;
use data::{Hit, Rows};
use deepembed_index::{Effort, Filter, OpenError, Watch, Writer, open, verify};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A file of three segments, some rows of which are removed, after several commits.
fn ragged(folder: &TempDir, spec: &str) -> (PathBuf, Vec<u8>) {
    let (path, mut oracle) = started(folder, spec, 300);
    grown(&path, &mut oracle, &[100, 20]);
    let mut writer = Writer::open(&path).unwrap();
    writer.remove(&[3, 250, 310, 401]);
    writer.commit(&Watch::none()).unwrap();
    drop(writer);
    let bytes = fs::read(&path).unwrap();
    (path, bytes)
}

/// What a file answers; every way to read it may fail and none may panic.
fn answers(path: &Path) -> Result<Vec<Hit>, OpenError> {
    let opened = open(path)?;
    let mut hits = search(&*opened.index, &row(5), 20, Filter::All, Effort::default());
    hits.extend(search(&*opened.index, &row(6), 20, Filter::When(&|id| id % 2 == 0), Effort::default()));
    opened.payload()?;
    Ok(hits)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn no_flipped_byte_of_a_grown_file_goes_unnoticed_or_matters(
        spec in prop::sample::select(vec!["Flat", "HNSW8_efc100", "IVF8,SQ8", "SymQG32"]),
        places in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 12), head: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (path, whole) = ragged(&folder, spec);
        let right = answers(&path).unwrap();
        for (at, bits) in places {
            let mut bytes = whole.clone();
            let at = at.index(if head { 2 * 4096 } else { bytes.len() });
            bytes[at] ^= bits;
            fs::write(&path, &bytes).unwrap();
            let found = answers(&path);
            if verify(&path).is_ok() {
                // A section that no commit names any more, or the copy of a superblock.
                prop_assert_eq!(found.unwrap(), right.clone(), "byte {}", at);
            } else if head {
                prop_assert!(found.is_err() || found.unwrap() == right, "byte {}", at);
            }
            let _ = Writer::open(&path).map(|mut writer| writer.compact(&Watch::none()).map(drop));
        }
    }

    #[test]
    fn a_grown_file_that_was_cut_is_noticed(at: prop::sample::Index) {
        let folder = tempfile::tempdir().unwrap();
        let (path, whole) = ragged(&folder, "Flat");
        fs::write(&path, &whole[..at.index(whole.len())]).unwrap();
        prop_assert!(open(&path).is_err() && Writer::open(&path).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Rubbish under hashes that match, as a hostile writer would make it.
    #[test]
    fn rubbish_that_is_sealed_does_no_harm(
        spec in prop::sample::select(vec!["Flat", "HNSW8_efc100", "IVF8,SQ8", "SymQG32"]), grow: bool,
        places in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..5),
        words in prop::collection::vec(prop_oneof![any::<u32>(), 0u32..2000], 0..40), at: prop::sample::Index,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut bytes) = ragged(&folder, spec);
        if !grow {
            bytes = fs::read(started(&folder, spec, 300).0).unwrap();
        }
        for (place, bits) in places {
            // The head, a table or a directory, or any byte.
            let pages = bytes.len() / 4096;
            let at = place.index(6 * pages);
            let at = match at % 3 {
                0 => at / 6 * 4096 + at % 64,
                1 => at % 2 * 4096 + place.index(1300),
                _ => place.index(bytes.len()),
            };
            bytes[at] ^= bits;
        }
        let start = at.index(bytes.len() / 4096) * 4096;
        for (slot, word) in bytes[start..].chunks_exact_mut(4).zip(&words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        seal(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        let _ = verify(&path);
        if open(&path).is_ok_and(|opened| opened.index.dim() == DIM) {
            let _ = answers(&path);
            if let Ok(mut writer) = Writer::open(&path) {
                writer.remove(&[0, 2, u64::MAX]);
                writer.update(&[1], Rows::new(&row(1), DIM).unwrap()).unwrap();
                let _ = writer.commit(&Watch::none());
                let _ = writer.compact(&Watch::none());
                let _ = answers(&path);
            }
        }
    }
}

#[test]
fn one_of_the_first_pages_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let (path, whole) = ragged(&folder, "Flat");
    let right = answers(&path).unwrap();
    for at in [0, 60, 2000, 4095].into_iter().flat_map(|at| [at, 4096 + at]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(answers(&path).unwrap(), right);
        assert!(verify(&path).unwrap_err().to_string().contains("a first page does not match its hash"));
        // What else is damaged is not believed then.
        let mut worse = bytes.clone();
        worse[3 * 4096] ^= 1;
        fs::write(&path, &worse).unwrap();
        assert!(open(&path).is_err());
        fs::write(&path, &bytes).unwrap();
        let mut writer = Writer::open(&path).unwrap();
        writer.remove(&[9]);
        writer.commit(&Watch::none()).unwrap();
        verify(&path).unwrap();
    }
}

/// A file that grew when files first could: it opens for ever, and the same history still gives its bytes.
/// `GOLDEN=write cargo test` records it anew, which only a new format may need.
#[test]
fn the_first_files_that_grew_still_open() {
    let folder = tempfile::tempdir().unwrap();
    let (fresh, mut oracle) = started(&folder, "HNSW4_efc20", 60);
    grown(&fresh, &mut oracle, &[9]);
    let mut writer = Writer::open(&fresh).unwrap();
    writer.remove(&[7, 61]);
    writer.set_payload(b"another".to_vec());
    writer.commit(&Watch::none()).unwrap();
    drop(writer);
    oracle.retain(|id, _| ![7, 61].contains(id));
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format1_grown.idx");
    if std::env::var("GOLDEN").is_ok_and(|value| value == "write") {
        fs::copy(&fresh, &old).unwrap();
    }
    verify(&old).unwrap();
    let opened = open(&old).unwrap();
    check(&*opened.index, &oracle, true, 1);
    assert_eq!((opened.generation(), opened.payload().unwrap()), (3, &b"another"[..]));
    assert!(fs::read(&old).unwrap() == fs::read(&fresh).unwrap());
}
