//! Files: what is written comes back, and nothing damaged is taken for whole.

mod common;

use common::{built, clustered, provenance};
use data::{Contract, Embed, EmbedError, Hits, Image, Metric, Rows};
use deepembed_index::{
    Index, OpenError, Opened, Provenance, Request, SaveError, Spec, Verified, open, save, verify,
};
use proptest::prelude::*;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const DIM: usize = 20;
const PAYLOAD: &[u8] = b"{\"path\":\"a.jpg\"}\n{\"path\":\"b.jpg\"}\n";

fn rows() -> Vec<f32> {
    clustered(300, DIM, 6, 1)
}

fn saved(folder: &TempDir, spec: &str, seed: u64) -> PathBuf {
    let values = rows();
    let index = built(spec, Rows::new(&values, DIM).unwrap(), Metric::Dot, seed);
    let path = folder.path().join(format!("{spec}.idx"));
    save(&path, &*index, &provenance(DIM), PAYLOAD).unwrap();
    path
}

fn answers(index: &dyn Index) -> Hits {
    let queries = clustered(30, DIM, 6, 2);
    let mut hits = Hits::default();
    let request = Request::top(NonZeroUsize::new(7).unwrap());
    index.search(Rows::new(&queries, DIM).unwrap(), &request, &mut hits).unwrap();
    hits
}

#[test]
fn what_is_written_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    for spec in Spec::EXAMPLES {
        let path = saved(&folder, spec, 5);
        let Opened { index, provenance: from, .. } = &open(&path).unwrap();
        let values = rows();
        let original = built(spec, Rows::new(&values, DIM).unwrap(), Metric::Dot, 5);
        assert_eq!(answers(&**index), answers(&*original));
        assert_eq!(index.spec().to_string(), spec);
        assert_eq!((index.len(), index.dim(), index.metric()), (300, DIM, Metric::Dot));
        assert_eq!(from, &provenance(DIM));
        assert_eq!(open(&path).unwrap().payload().unwrap(), PAYLOAD);
        let Verified { bytes, sections, hash } = verify(&path).unwrap();
        assert_eq!((bytes, hash.len()), (fs::metadata(&path).unwrap().len(), 64));
        assert!(sections >= 3);
        // An index that lies in a file can be saved again.
        let copy = folder.path().join("copy.idx");
        save(&copy, &**index, from, PAYLOAD).unwrap();
        assert_eq!(fs::read(&copy).unwrap(), fs::read(&path).unwrap());
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_at_any_thread_count() {
    let values = clustered(4000, DIM, 6, 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let bytes = |spec: &str, threads, seed| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let index = built(spec, Rows::new(&values, DIM).unwrap(), Metric::L2, seed);
            save(&path, &*index, &provenance(DIM), PAYLOAD).unwrap();
            fs::read(&path).unwrap()
        })
    };
    for spec in Spec::EXAMPLES {
        let one = bytes(spec, 1, 5);
        assert!(one == bytes(spec, 2, 5) && one == bytes(spec, 8, 5), "{spec}");
    }
    assert!(bytes("HNSW16", 2, 5) != bytes("HNSW16", 2, 6));
    // Nothing is left beside the file.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Opens and uses a file that may be damaged: no panic, no endless loop, wrong answers at worst.
fn survives(path: &Path) -> Result<(), OpenError> {
    let opened = open(path)?;
    let hits = answers(&*opened.index);
    assert!(hits.iter().flatten().all(|hit| (hit.id as usize) < opened.index.len()));
    opened.payload()?;
    verify(path).map(drop)
}

#[test]
fn every_flipped_byte_of_the_head_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = saved(&folder, "HNSW8_efc100", 5);
    let whole = fs::read(&path).unwrap();
    let target = folder.path().join("flipped");
    // Both superblocks and the table with its padding: three pages.
    for at in (0..3 * 4096).filter(|at| at % 5 == 0 || at % 4096 < 520) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x81;
        fs::write(&target, &bytes).unwrap();
        assert!(open(&target).is_err(), "byte {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_flipped_byte_is_noticed(spec in 0..Spec::EXAMPLES.len(), at: prop::sample::Index, bits in 1u8..) {
        let folder = tempfile::tempdir().unwrap();
        let path = saved(&folder, Spec::EXAMPLES[spec], 5);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        fs::write(&path, &bytes).unwrap();
        prop_assert!(survives(&path).is_err(), "byte {}", at);
    }

    #[test]
    fn any_truncation_is_noticed_at_once(spec in 0..Spec::EXAMPLES.len(), at: prop::sample::Index) {
        let folder = tempfile::tempdir().unwrap();
        let path = saved(&folder, Spec::EXAMPLES[spec], 5);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..at.index(bytes.len())]).unwrap();
        prop_assert!(open(&path).is_err());
    }

    #[test]
    fn what_a_cut_commit_left_at_the_end_is_ignored(tail in prop::collection::vec(any::<u8>(), 1..9000)) {
        let folder = tempfile::tempdir().unwrap();
        let path = saved(&folder, "Flat", 5);
        let whole = verify(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, [&bytes[..], &tail].concat()).unwrap();
        prop_assert_eq!(verify(&path).unwrap(), whole);
        let opened = open(&path).unwrap();
        prop_assert_eq!(opened.payload().unwrap(), PAYLOAD);
    }

    #[test]
    fn a_graph_of_rubbish_is_walked_safely(
        words in prop::collection::vec(prop_oneof![any::<u32>(), 0u32..400], 1..64), at: prop::sample::Index,
        spec in prop::sample::select(vec!["SymQG32", "HNSW8_efc100", "KNNG24", "EFANNA24_T4", "NSG20,SQ8"]),
    ) {
        // Whole sections of rubbish, as a hostile writer would leave them: opening checks sizes only.
        let folder = tempfile::tempdir().unwrap();
        let path = saved(&folder, spec, 5);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        let at = 4 * 4096 + at.index(bytes.len() - 5 * 4096);
        for (i, word) in words.iter().cycle().enumerate().take((bytes.len() - 4096 - at) / 4) {
            bytes[at + 4 * i..at + 4 * i + 4].copy_from_slice(&word.to_le_bytes());
        }
        // Zeros over the padding of the last section are no damage.
        prop_assume!(bytes != whole);
        fs::write(&path, &bytes).unwrap();
        prop_assert!(survives(&path).is_err());
    }

    #[test]
    fn rubbish_is_no_index(bytes in prop::collection::vec(any::<u8>(), 0..9000), magic: bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rubbish");
        let head: &[u8] = if magic { b"DEEPEMB1\x01\0\0\0" } else { b"" };
        fs::write(&path, [head, &bytes].concat()).unwrap();
        prop_assert!(open(&path).is_err());
    }
}

#[test]
fn errors_name_the_file_and_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = saved(&folder, "Flat", 5);
    let name = path.display().to_string();
    let whole = fs::read(&path).unwrap();
    let error = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        verify(&path).unwrap_err().to_string()
    };
    let length = whole.len();
    assert_eq!(
        error(&whole[..length - 1]),
        format!("{name} has {} bytes, {length} were written; copy it again", length - 1)
    );
    assert_eq!(error(b"GIF89a"), format!("{name} is no index file; `deepembed index build` makes one"));
    let newer = [&whole[..8], &[2], &whole[9..]].concat();
    assert_eq!(
        error(&newer),
        format!("{name} has format 2, this program reads 1; open it with a newer release")
    );
    let flipped = [&whole[..4 * 4096], &[whole[4 * 4096] ^ 1], &whole[4 * 4096 + 1..]].concat();
    assert_eq!(
        error(&flipped),
        format!(
            "{name} is damaged: section 2 does not match its hash; restore it from a copy or build it again"
        )
    );
    let missing = folder.path().join("none");
    assert!(open(&missing).unwrap_err().to_string().starts_with("cannot read "));
}

#[test]
fn a_provenance_that_does_not_fit_is_not_written() {
    let values = rows();
    let index = built("Flat", Rows::new(&values, DIM).unwrap(), Metric::Dot, 5);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let refused = save(&path, &*index, &provenance(DIM + 1), b"").unwrap_err();
    assert!(matches!(refused, SaveError::Dim { contract: 21, index: 20 }));
    let mut unnamed = provenance(DIM);
    unnamed.model.as_mut().unwrap().hash = "abc".into();
    assert!(matches!(save(&path, &*index, &unnamed, b""), Err(SaveError::ModelHash(_))));
    assert!(matches!(save(&path.join("x"), &*index, &provenance(DIM), b""), Err(SaveError::Io { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A file written when format 1 was made: it opens for ever, and the same rows still give its bytes.
/// `GOLDEN=write cargo test` records it anew, which only a new format may need.
#[test]
fn the_first_format_still_opens() {
    let values = rows();
    let index = built("HNSW4_efc20", Rows::new(&values[..60 * DIM], DIM).unwrap(), Metric::L2, 5);
    let folder = tempfile::tempdir().unwrap();
    let fresh = folder.path().join("fresh");
    save(&fresh, &*index, &provenance(DIM), PAYLOAD).unwrap();
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format1.idx");
    if std::env::var("GOLDEN").is_ok_and(|value| value == "write") {
        fs::copy(&fresh, &old).unwrap();
    }
    verify(&old).unwrap();
    let opened = open(&old).unwrap();
    assert_eq!(answers(&*opened.index), answers(&*index));
    assert_eq!((opened.payload().unwrap(), &opened.provenance), (PAYLOAD, &provenance(DIM)));
    assert!(fs::read(&old).unwrap() == fs::read(&fresh).unwrap());
}

#[test]
fn an_index_of_plain_vectors_comes_back() {
    let values = rows();
    let index = built("IVF4,SQ8", Rows::new(&values, DIM).unwrap(), Metric::L2, 5);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let plain = Provenance { model: None, ..provenance(DIM) };
    save(&path, &*index, &plain, PAYLOAD).unwrap();
    let opened = open(&path).unwrap();
    assert_eq!((&opened.provenance, answers(&*opened.index)), (&plain, answers(&*index)));
    let whole = fs::read(&path).unwrap();
    let hash = b"\"data_hash\"";
    let at = whole.windows(hash.len()).position(|bytes| bytes == hash).unwrap();
    assert!(!whole[..at].windows(10).any(|bytes| bytes == b"model_hash"));
}

/// A model of a given hash.
struct Model(String, Contract);

impl Embed for Model {
    fn contract(&self) -> &Contract {
        &self.1
    }

    fn model_hash(&self) -> &str {
        &self.0
    }

    fn embed(&self, images: &[Image]) -> Result<Vec<f32>, EmbedError> {
        Ok(vec![0.0; images.len() * self.1.dim])
    }
}

#[test]
fn only_the_model_of_the_index_may_ask() {
    let from = provenance(DIM);
    let contract = from.model.clone().unwrap().contract;
    let other = Contract { architecture: "vit-s16".into(), ..contract.clone() };
    assert_eq!(from.accepts(&Model("A".repeat(64), contract.clone())), Ok(()));
    let plain = Provenance { model: None, ..from.clone() };
    assert!(
        plain.accepts(&Model("a".repeat(64), contract)).unwrap_err().to_string().contains("plain vectors")
    );
    let refused = from.accepts(&Model("c".repeat(64), other)).unwrap_err().to_string();
    for named in [&"a".repeat(64), &"c".repeat(64), "resnet18", "vit-s16"] {
        assert!(refused.contains(named), "{refused}");
    }
}
