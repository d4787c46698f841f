//! Codes by turns with faiss's: training, coding, scanning, error and recall on one data set.

use crate::peer::Peer;
use crate::timing::Clocks;
use crate::vectors::{self, Vectors};
use anyhow::ensure;
use data::Metric;
use data::vectors::VectorFile;
use quant::{Codec, Spec, Training, search};
use serde::Serialize;
use serde_json::json;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// How many of the first found are looked at for the true nearest.
const DEPTHS: [usize; 3] = [1, 10, 100];
/// faiss's exhaustive search of bits, given the codes that ours made.
const BITS: &str = "BFlat";

/// Compare codes with faiss's, CPU seconds on one thread.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    vectors: vectors::Args,
    /// A spec, or a spec and faiss's for the same bytes: PQ16, OPQ16,PQ16=OPQ16_128,PQ16.
    #[arg(long, required = true, value_parser = pair)]
    spec: Vec<(Spec, Option<String>)>,
    /// Neighbours looked for.
    #[arg(long, default_value = "100")]
    k: NonZeroUsize,
    /// Searches of each side, by turns; the quickest counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Everything random of either side.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A Python with faiss-cpu; without one only our side runs.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

/// Parses `OURS` or `OURS=THEIRS`.
fn pair(text: &str) -> Result<(Spec, Option<String>), String> {
    let (ours, theirs) = text.split_once('=').map_or((text, None), |(ours, theirs)| (ours, Some(theirs)));
    Ok((ours.parse().map_err(|error| format!("{error}"))?, theirs.map(str::to_owned)))
}

/// The numbers of one code of one side.
#[derive(Serialize)]
struct Measured {
    name: String,
    spec: String,
    /// Bytes a vector; 0 where the peer was not asked.
    bytes: usize,
    /// Mean squared error of vectors that were not learned from.
    error: Option<f64>,
    /// 1-recall at each of [`DEPTHS`].
    recall: [f64; 3],
    train_s: f64,
    encode_us: f64,
    /// Thousand million codes a CPU second.
    scan_rate: f64,
}

impl Args {
    /// Prints a JSON object a code and side, as they are done.
    pub fn run(&self) -> anyhow::Result<()> {
        let vectors = self.vectors.read()?;
        let mut peer = match &self.python {
            Some(python) => {
                let mut peer = Peer::start(python, "faiss_peer.py", 1)?;
                peer.ask(&self.vectors.request(1))?;
                Some(peer)
            }
            None => None,
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
        for (ours, theirs) in &self.spec {
            let peer = peer.as_mut().zip(theirs.as_deref());
            pool.install(|| self.compare(&vectors, ours, peer))?;
        }
        Ok(())
    }

    #[allow(clippy::print_stdout)]
    fn compare(&self, vectors: &Vectors, spec: &Spec, peer: Option<(&mut Peer, &str)>) -> anyhow::Result<()> {
        let mut ours = Ours::build(vectors, spec, self.seed)?;
        let mut theirs = match peer {
            Some((peer, spec)) => Some(Theirs::build(vectors, peer, spec, self.seed, &ours)?),
            None => None,
        };
        for _ in 0..self.rounds {
            ours.search(vectors, self.k)?;
            if let Some(theirs) = &mut theirs {
                theirs.search(vectors, self.k)?;
            }
        }
        println!("{}", serde_json::to_string(&ours.measured)?);
        if let Some(theirs) = theirs {
            println!("{}", serde_json::to_string(&theirs.measured)?);
        }
        Ok(())
    }
}

/// Thousand million codes a second.
fn rate(vectors: &Vectors, seconds: f64) -> f64 {
    vectors.base().len() as f64 * vectors.queries().len() as f64 / seconds / 1e9
}

struct Ours {
    codec: Box<dyn Codec>,
    codes: Vec<u8>,
    packed: Vec<u8>,
    measured: Measured,
}

impl Ours {
    fn build(vectors: &Vectors, spec: &Spec, seed: u64) -> anyhow::Result<Self> {
        let base = vectors.base();
        let clocks = Clocks::start();
        let codec = spec.train(vectors.sample(), &Training::seeded(seed))?;
        let train_s = clocks.took(0).cpu;
        let clocks = Clocks::start();
        let codes = codec.encode_all(base)?;
        let encode_us = clocks.took(0).cpu * 1e6 / base.len() as f64;
        let error = held_out_error(vectors, &*codec, &codes);
        let measured = Measured {
            name: "deepembed".to_owned(),
            spec: spec.to_string(),
            bytes: codec.code_len(),
            error: Some(error),
            recall: [0.0; 3],
            train_s,
            encode_us,
            scan_rate: 0.0,
        };
        let packed = codec.pack(codes.clone());
        Ok(Self { codec, codes, packed, measured })
    }

    fn search(&mut self, vectors: &Vectors, k: NonZeroUsize) -> anyhow::Result<()> {
        let (len, queries) = (vectors.base().len(), vectors.queries());
        let clocks = Clocks::start();
        let hits = search(&*self.codec, &self.packed, len, queries, Metric::L2, k)?;
        self.measured.scan_rate = self.measured.scan_rate.max(rate(vectors, clocks.took(0).cpu));
        let ids: Vec<Vec<u32>> =
            hits.iter().map(|hits| hits.iter().map(|hit| hit.id as u32).collect()).collect();
        self.measured.recall = DEPTHS.map(|depth| vectors.recall(ids.iter().map(Vec::as_slice), depth));
        Ok(())
    }
}

fn held_out_error(vectors: &Vectors, codec: &dyn Codec, codes: &[u8]) -> f64 {
    let (base, len) = (vectors.base(), codec.code_len());
    let mut decoded = vec![0.0; base.dim()];
    let errors = vectors.held_out.iter().map(|&row| {
        codec.decode(&codes[row * len..][..len], &mut decoded);
        f64::from(kernels::l2(base.row(row), &decoded))
    });
    errors.sum::<f64>() / vectors.held_out.len() as f64
}

struct Theirs<'a> {
    peer: &'a mut Peer,
    /// Holds what the peer writes.
    folder: tempfile::TempDir,
    /// Bytes of the codes it was given, where it does not make its own.
    given: Option<usize>,
    measured: Measured,
}

impl<'a> Theirs<'a> {
    fn build(
        vectors: &Vectors,
        peer: &'a mut Peer,
        spec: &str,
        seed: u64,
        ours: &Ours,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut measured = Measured {
            name: peer.name.clone(),
            spec: spec.to_owned(),
            bytes: ours.measured.bytes,
            error: None,
            recall: [0.0; 3],
            train_s: 0.0,
            encode_us: 0.0,
            scan_rate: 0.0,
        };
        let given = (spec == BITS).then_some(ours.measured.bytes);
        if given.is_some() {
            std::fs::write(folder.path().join("codes"), &ours.codes)?;
            std::fs::write(folder.path().join("queries"), ours.codec.encode_all(vectors.queries())?)?;
        } else {
            measured.train_s = peer.ask(&json!({ "do": "train", "spec": spec, "seed": seed }))?.cpu_s;
            let coded = peer.ask(&json!({ "do": "encode", "rows": vectors.held_out }))?;
            measured.encode_us = coded.cpu_s * 1e6 / vectors.base().len() as f64;
            measured.error = coded.error;
        }
        Ok(Self { peer, folder, given, measured })
    }

    fn search(&mut self, vectors: &Vectors, k: NonZeroUsize) -> anyhow::Result<()> {
        let path = |name: &str| self.folder.path().join(name);
        let out = path("found.ivecs");
        let answer = match self.given {
            Some(bytes) => self.peer.ask(&json!({
                "do": "hamming", "codes": path("codes"), "queries": path("queries"), "bytes": bytes, "k": k,
                "out": out,
            }))?,
            None => self.peer.ask(&json!({ "do": "search", "k": k, "out": out }))?,
        };
        self.measured.scan_rate = self.measured.scan_rate.max(rate(vectors, answer.cpu_s));
        let (ids, k) = read_ids(&out)?;
        ensure!(
            ids.len() == vectors.queries().len() * k,
            "{} answered for {} ids",
            self.peer.name,
            ids.len()
        );
        self.measured.recall = DEPTHS.map(|depth| vectors.recall(ids.chunks_exact(k), depth));
        Ok(())
    }
}

/// The ids of an .ivecs file and how many there are a query.
fn read_ids(path: &Path) -> anyhow::Result<(Vec<u32>, usize)> {
    let file = VectorFile::open(path)?;
    let ids = file.read_ids(0..file.len())?;
    // The peer writes -1 where it found nothing.
    let ids = ids.into_iter().map(|id| u32::try_from(id).unwrap_or(u32::MAX)).collect();
    Ok((ids, file.dim()))
}
