//! What an index costs before it is built: bytes, memory while building, seconds.
//!
//! Bytes follow from the arrays that an index of the spec holds (lists shorter than a block of packed codes scatter by a
//! tenth); codes are asked themselves, by learning them from
//! a handful of random rows. Seconds are operations, counted roughly, times what they take on this [`Machine`]: an
//! order of magnitude that ranks compositions, not a promise. Recall is never modelled.
//! Notation: `n` rows of `d` values, `s` values of a row with its padding, 4 bytes a value.
//! Source of the forms: the papers named where each index is; the factors were fitted to 100,000 and 1,000,000 SIFT
//! vectors.

use super::machine::Machine;
use crate::graph::{FlatGraphSpec, GraphBuilder, GraphShape, GraphSpec};
use crate::lists::bounds::{CENTROID_SAMPLE, CODE_SAMPLE, PROBES};
use crate::vectors::stride;
use crate::{BuildError, CellsSpec, Layout, ListsSpec, Partition, Spec, SymqgSpec};
use data::{Metric, Rows};
use kernels::SplitMix64;
use quant::codes::Code;
use quant::transforms::Change;
use quant::{Codec, TrainError, Training};
use serde::Serialize;

/// What is indexed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extent {
    /// Rows.
    pub rows: usize,
    /// Values a row.
    pub dim: usize,
    /// How they are compared.
    pub metric: Metric,
    /// Whether all values are whole numbers from 0 to 255, which some layouts keep in bytes.
    pub whole: bool,
}

/// What an index costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Bytes of its arrays, those of `Index::bytes`.
    pub index_bytes: u64,
    /// Bytes of its file, without what the writer adds.
    pub file_bytes: u64,
    /// Bytes in memory while it is built, at most: the rows given, the index and what is needed on the way.
    pub peak_bytes: u64,
    /// Seconds to build it, roughly.
    pub build_seconds: f64,
    /// Seconds a query alone with the index's own effort for ten answers, roughly.
    pub query_seconds: f64,
}

/// Bytes of a float or an id.
const WORD: f64 = 4.0;
/// Bytes that a file adds to each section: padding and its line in the table.
const SECTION: f64 = 2048.0 + 64.0;
/// Scratch memory of threads and what else is not counted.
const SPARE: f64 = 1024.0 * 1024.0;

/// Bytes while something is built.
#[derive(Clone, Copy, Debug, Default)]
struct Bytes {
    /// Of the index.
    index: f64,
    /// On top of the rows, at most.
    peak: f64,
    /// Sections of the file.
    sections: f64,
}

/// What `spec` costs over rows of an extent.
///
/// # Errors
/// When its code cannot be learnt from rows of so many values.
pub fn plan(spec: &Spec, extent: &Extent, machine: &Machine) -> Result<Plan, BuildError> {
    let bytes = bytes(spec, extent)?;
    let given = extent.rows as f64 * extent.dim as f64 * WORD;
    let algebra = if code_of(spec).is_some_and(decomposes) { ALGEBRA * machine.threads as f64 } else { 0.0 };
    let seconds = super::seconds::Seconds { machine, extent };
    Ok(Plan {
        index_bytes: bytes.index as u64,
        file_bytes: (bytes.index + 3.0 * 4096.0 + bytes.sections * SECTION) as u64,
        peak_bytes: (given + bytes.peak + algebra + SPARE) as u64,
        build_seconds: seconds.build(spec),
        query_seconds: seconds.query(spec),
    })
}

/// What linear algebra keeps for each thread once it was used.
const ALGEBRA: f64 = 5.0 * 1024.0 * 1024.0;

/// Whether learning the code takes decompositions of matrices.
fn decomposes(code: &quant::Spec) -> bool {
    matches!(code.code, Code::Additive(_))
        || code
            .changes
            .iter()
            .any(|change| matches!(change, Change::Pca(_) | Change::Opq(_) | Change::Itq(_)))
}

/// The code of an index.
fn code_of(spec: &Spec) -> Option<&quant::Spec> {
    match &spec.layout {
        Layout::Graph(graph) => graph.code(),
        Layout::Lists(lists) => Some(&lists.code),
        Layout::Scan | Layout::Symqg(_) => None,
    }
}

fn bytes(spec: &Spec, extent: &Extent) -> Result<Bytes, BuildError> {
    match &spec.layout {
        Layout::Scan => {
            let index = extent.rows as f64 * stride(extent.dim) as f64 * WORD;
            Ok(Bytes { index, peak: index, sections: 1.0 })
        }
        Layout::Graph(graph) => graph_bytes(graph, extent),
        Layout::Lists(lists) => lists_bytes(lists, extent),
        &Layout::Symqg(shape) => Ok(fused_bytes(shape, extent)),
    }
}

/// A code, learnt from noise.
struct Probe {
    codec: Box<dyn Codec>,
    /// Bytes of the trained code.
    trained: f64,
    /// Bytes of training from the sample of `rows`, at most.
    training: f64,
}

impl Probe {
    /// Learns the code from as few rows as will do: its sizes do not depend on them.
    fn of(spec: &quant::Spec, extent: &Extent) -> Result<Self, BuildError> {
        let mut spec = spec.clone();
        for change in &mut spec.changes {
            if let Change::Opq(config) = change {
                // The closed form holds the same arrays and is learnt at once.
                config.parametric = true;
            }
        }
        let (mut random, mut values) = (SplitMix64::new(1), Vec::new());
        let mut count = 64;
        let codec = loop {
            values.resize_with(count * extent.dim, || random.unit() as f32 - 0.5);
            let rows = Rows::new(&values, extent.dim).expect("whole rows");
            match spec.train(rows, &Training::seeded(1)) {
                Err(TrainError::TooFew { need, .. }) if need > count => count = need,
                other => break other?,
            }
        };
        let trained = quant::to_bytes(&spec, &*codec).map_err(BuildError::Code)?.len() as f64;
        let sample = (extent.rows as f64).min(CODE_SAMPLE as f64);
        // A row, its image after each change and what training keeps of it.
        let copies = match &spec.code {
            Code::Full(_) | Code::Half(_) | Code::Scalar(_) | Code::Lvq(_) | Code::Sign(_) => 1.0,
            Code::RaBitQ(_) => 2.0,
            Code::Pq(_) | Code::PqFastScan(_) | Code::Polysemous(_) | Code::Anisotropic(_) => 3.0,
            Code::Additive(_) => 6.0,
        };
        let copies = copies + 2.0 * spec.changes.len() as f64;
        let widest = extent.dim.next_power_of_two() as f64;
        Ok(Self { codec, trained, training: copies * sample * widest * WORD + 2.0 * trained })
    }

    fn len(&self) -> f64 {
        self.codec.code_len() as f64
    }
}

/// Bytes of a sample of at most `most` rows: none where all are taken as they are.
fn sample_bytes(extent: &Extent, most: f64) -> f64 {
    if extent.rows as f64 <= most { 0.0 } else { most * extent.dim as f64 * WORD }
}

/// A finer code: index bytes, and bytes while it is learnt.
fn finer_bytes(code: Option<&Code>, extent: &Extent) -> Result<Bytes, BuildError> {
    let n = extent.rows as f64;
    match code {
        None => Ok(Bytes::default()),
        Some(Code::Full(_)) => {
            Ok(Bytes { index: n * stride(extent.dim) as f64 * WORD, peak: 0.0, sections: 1.0 })
        }
        Some(code) => {
            let probe = Probe::of(&quant::Spec { changes: Vec::new(), code: code.clone() }, extent)?;
            Ok(Bytes { index: probe.trained + n * probe.len(), peak: probe.training, sections: 2.0 })
        }
    }
}

fn graph_bytes(spec: &GraphSpec, extent: &Extent) -> Result<Bytes, BuildError> {
    let n = extent.rows as f64;
    let vectors = n * stride(extent.dim) as f64 * WORD;
    let (links, on_the_way) = match spec.shape {
        GraphShape::Hnsw(shape) => {
            let m = shape.links() as f64;
            // Levels thin out by `m`: a node has `1 / (m - 1)` lists above the lowest level.
            let links = n * (2.0 * m + m / (m - 1.0) + 1.0) * WORD + 12.0;
            (links, 1.1 * n + rounds(n, 1024.0, 2.0 * m))
        }
        GraphShape::Flat(shape) => flat_graph_bytes(shape, extent),
    };
    let own_ids = if matches!(spec.shape, GraphShape::Flat(_)) { n * WORD } else { 0.0 };
    let finer = finer_bytes(spec.refine(), extent)?;
    let (points, training, sections) = match spec.code() {
        None => (vectors, 0.0, 1.0),
        Some(code) => {
            let probe = Probe::of(code, extent)?;
            (probe.trained + n * probe.len(), probe.training, 2.0)
        }
    };
    let coded = spec.code().is_some() || spec.refine().is_some();
    let sample = if coded { sample_bytes(extent, CODE_SAMPLE as f64) } else { 0.0 };
    let index = points + links + own_ids + finer.index;
    // Links are made over whole rows; then come the points, while HNSW still holds those rows.
    let linking = vectors + links + own_ids + on_the_way;
    let kept = if matches!(spec.shape, GraphShape::Hnsw(_)) && spec.code().is_some() { vectors } else { 0.0 };
    let after = index + kept + 2.0 * n * WORD + finer.peak;
    Ok(Bytes {
        index,
        peak: sample + training.max(linking).max(after),
        sections: 6.0 + sections + finer.sections,
    })
}

/// What a round of insertion or selection of so many nodes keeps: lists, links to be answered, and the answers.
fn rounds(rows: f64, nodes: f64, degree: f64) -> f64 {
    let nodes = nodes.min(rows);
    nodes * (24.0 + degree * 20.0) + rows.min(nodes * degree) * (40.0 + 8.0 * degree)
}

/// The links of a graph of one layer with what leads searches into it, and what is needed on the way.
fn flat_graph_bytes(shape: FlatGraphSpec, extent: &Extent) -> (f64, f64) {
    let (n, degree) = (extent.rows as f64, shape.degree() as f64);
    let links = |degree: f64| n * degree * WORD;
    let trees = |count: f64| n * count * WORD + count * (n / 16.0).max(1.0) * 2.0 * WORD;
    // Pools of candidates, and four samples of twelve ids with two more numbers.
    let descent = |width: f64| n * width * 8.0 + n * (4.0 * 13.0 + 2.0) * WORD + 2048.0 * 600.0 * 16.0;
    let (own, extra, way) = match shape.builder() {
        GraphBuilder::Nsw => (links(2.0 * degree), 0.0, rounds(n, 1024.0, 2.0 * degree)),
        GraphBuilder::Knng => (links(degree), n.sqrt().clamp(1.0, 256.0) * WORD, descent(degree + 8.0)),
        GraphBuilder::Efanna { trees: count } => {
            let count = f64::from(count);
            (links(degree), trees(count), descent(degree + 8.0) + count * n * WORD)
        }
        GraphBuilder::Nsg => {
            let wide = (2.0 * degree).min(64.0).max(degree);
            let near = descent(wide) + 2.0 * trees(4.0);
            let answering = rounds(n, 65_536.0, degree);
            (links(degree), 0.0, (near - links(degree)).max(links(wide) + answering))
        }
        GraphBuilder::Vamana { .. } => {
            (links(degree), 0.0, rounds(n, (n / 50.0).clamp(32.0, 65_536.0), degree))
        }
    };
    // Numbering breadth first holds the links twice and the order three times.
    let ordering = own + 3.0 * n * WORD;
    (own + extra + 8.0, way.max(ordering) + 1.1 * n)
}

fn fused_bytes(shape: SymqgSpec, extent: &Extent) -> Bytes {
    let (n, d, degree) = (extent.rows as f64, extent.dim, shape.degree() as f64);
    let rotated = d.next_multiple_of(64) as f64 * WORD;
    let block = |values: f64, dim: usize| {
        let rotated = dim.next_multiple_of(64) as f64;
        ((dim as f64 * values) / 64.0).ceil() * 64.0 + degree / 32.0 * (4.0 * rotated + 256.0)
    };
    let value = if extent.whole && d <= kernels::integers::MOST_DIMENSIONS { 1.0 } else { WORD };
    let words = n * block(value, d);
    let frame = WORD * (2.0 + d as f64 + d.next_multiple_of(64) as f64 * 4.0);
    let links = n * degree * 8.0;
    let round = (n / 10.0).clamp(64.0, 131_072.0).min(n);
    let answering =
        round * (32.0 + degree * 8.0 + degree * 16.0) + n.min(round * degree) * (48.0 + 16.0 * degree);
    let index = words + frame;
    let peak = match extent.metric {
        Metric::L2 => index + n * rotated + links + answering,
        Metric::Dot => {
            let longer = n * (d as f64 + 1.0) * WORD;
            let turned = n * (d + 1).next_multiple_of(64) as f64 * WORD;
            let made = n * block(WORD, d + 1) + links;
            longer + turned + made + answering.max(index + n * rotated)
        }
    };
    Bytes { index, peak, sections: 2.0 }
}

fn lists_bytes(spec: &ListsSpec, extent: &Extent) -> Result<Bytes, BuildError> {
    let (n, d) = (extent.rows as f64, extent.dim as f64);
    let probe = Probe::of(&spec.code, extent)?;
    let finer = finer_bytes(spec.refine.as_ref(), extent)?;
    let coarse = match &spec.cells {
        Some(cells) => coarse_bytes(cells, extent)?,
        None => Bytes::default(),
    };
    let (lists, product) = match &spec.cells {
        Some(CellsSpec { partition: partition @ Partition::Product { .. }, .. }) => {
            (partition.lists() as f64, true)
        }
        Some(cells) => (cells.partition.lists() as f64, false),
        None => (1.0, false),
    };
    let residual = spec.cells.as_ref().is_some_and(|cells| cells.residual);
    let codes = if product { n * probe.len() } else { packed(&*probe.codec, extent.rows, lists) };
    let offsets = if product { 0.0 } else { (lists + 1.0) * 8.0 };
    let terms = if product && residual && extent.metric == Metric::L2 { n * WORD } else { 0.0 };
    let places = (lists + 1.0) * WORD + n * WORD + offsets + codes + terms;
    let index = probe.trained + coarse.index + places + finer.index;
    let assigned = coarse.index * 2.0 + n * WORD;
    let sample = sample_bytes(extent, CODE_SAMPLE as f64);
    let apart = if residual { n.min(CODE_SAMPLE as f64) * d * WORD } else { 0.0 };
    let training = sample + apart + probe.training;
    let filling = sample + finer.peak + places + finer.index + probe.trained + 3.0 * lists * 48.0 + n * WORD;
    let peak = coarse.peak.max(assigned + training).max(assigned + filling);
    Ok(Bytes { index, peak, sections: 6.0 + coarse.sections + finer.sections })
}

/// Bytes of the packed codes of lists whose lengths scatter about their mean.
fn packed(codec: &dyn Codec, rows: usize, lists: f64) -> f64 {
    /// Lengths on either side of the mean; more than any code packs together.
    const SPREAD: usize = 64;
    if lists <= 1.0 {
        return codec.packed_len(rows) as f64;
    }
    let mean = rows as f64 / lists;
    let first = (mean.round() as usize).saturating_sub(SPREAD / 2);
    let lengths = first..first + SPREAD;
    let (bytes, held) =
        lengths.fold((0, 0), |(bytes, held), len| (bytes + codec.packed_len(len), held + len));
    // What a list takes beside its codes is known from the window; codes alone grow with the rows.
    let beside = (bytes as f64 - held as f64 * codec.code_len() as f64) / SPREAD as f64;
    rows as f64 * codec.code_len() as f64 + lists * beside
}

fn coarse_bytes(cells: &CellsSpec, extent: &Extent) -> Result<Bytes, BuildError> {
    let (n, d) = (extent.rows as f64, extent.dim as f64);
    match &cells.partition {
        Partition::Nearest { count, router } => {
            let lists = f64::from(*count);
            let centroids = lists * d * WORD;
            let seen = n.min(lists * CENTROID_SAMPLE as f64);
            let learning = sample_bytes(extent, lists * CENTROID_SAMPLE as f64)
                + seen * 28.0
                + 8.0 * centroids
                + if *count > 1 << 14 { seen * d * WORD / 16.0 } else { 0.0 };
            let inner = match router {
                Some(spec) => bytes(spec, &Extent { rows: *count as usize, whole: false, ..*extent })?,
                None => Bytes::default(),
            };
            let peak = learning.max(2.0 * centroids + inner.peak);
            Ok(Bytes { index: centroids + inner.index, peak, sections: 1.0 + inner.sections })
        }
        Partition::Product { bits } => {
            let count = f64::from(1u32 << bits);
            let (centroids, most) = (count * d * WORD, count * CENTROID_SAMPLE as f64);
            let seen = n.min(most);
            let peak = sample_bytes(extent, most) + seen * (d * WORD + 28.0) + 8.0 * centroids;
            Ok(Bytes { index: centroids, peak, sections: 1.0 })
        }
    }
}

/// Lists that a search visits where nothing is said.
pub(super) fn own_probes(lists: usize) -> usize {
    PROBES.max(lists / 32).min(lists)
}
