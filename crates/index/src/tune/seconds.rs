//! Seconds to build and to search, from operations and what they take.
//!
//! Factors are rows compared for each row built, or for each candidate of a beam, as counted on 100,000 and 1,000,000
//! SIFT vectors.

use super::cost::{Extent, own_probes};
use super::machine::Machine;
use crate::graph::{FlatGraphSpec, GraphBuilder, GraphShape, GraphSpec};
use crate::lists::bounds::{CENTROID_SAMPLE, CODE_SAMPLE};
use crate::{CellsSpec, Layout, ListsSpec, Partition, Spec, SymqgSpec};
use quant::codes::Code;

/// Answers that a query is planned for.
const K: f64 = 10.0;
/// Width of a graph search, and rows ranked again for each answer, where nothing is said.
const BEAM: f64 = 64.0;
const RERANK: f64 = 10.0;

/// Estimates for one extent on one machine.
pub(super) struct Seconds<'a> {
    pub(super) machine: &'a Machine,
    pub(super) extent: &'a Extent,
}

impl Seconds<'_> {
    fn n(&self) -> f64 {
        self.extent.rows as f64
    }

    fn d(&self) -> f64 {
        self.extent.dim as f64
    }

    fn row(&self) -> f64 {
        self.machine.row(self.d())
    }

    /// How much longer walks are than among a million rows.
    fn depth(&self) -> f64 {
        self.n().max(16.0).ln() / 1e6f64.ln()
    }

    /// Seconds to build, all threads at work.
    pub(super) fn build(&self, spec: &Spec) -> f64 {
        let copy = self.n() * self.d() * 8.0 * self.machine.stream;
        let work = match &spec.layout {
            Layout::Scan => copy,
            Layout::Graph(graph) => copy + self.graph(graph),
            Layout::Lists(lists) => copy + self.lists(lists),
            &Layout::Symqg(shape) => {
                copy + self.n() * self.depth() * 25.0 * shape.construction() as f64 * self.row()
            }
        };
        work / self.machine.threads as f64
    }

    fn graph(&self, spec: &GraphSpec) -> f64 {
        let rows = match spec.shape {
            GraphShape::Hnsw(shape) => {
                26.0 * shape.construction() as f64 * (shape.links() as f64 / 16.0).sqrt() * self.depth()
            }
            GraphShape::Flat(shape) => self.flat_graph(shape),
        };
        let codes = spec.code().map_or(0.0, |code| self.code(code));
        self.n() * rows * self.row() + codes + spec.refine().map_or(0.0, |code| self.learn(code))
    }

    /// Rows compared for each row of a graph of one layer.
    fn flat_graph(&self, shape: FlatGraphSpec) -> f64 {
        let (degree, construction) = (shape.degree() as f64, shape.construction() as f64);
        match shape.builder() {
            GraphBuilder::Nsw => 28.0 * construction * self.depth(),
            GraphBuilder::Knng => 55.0 * (degree + 8.0),
            GraphBuilder::Efanna { .. } => 50.0 * (degree + 8.0),
            GraphBuilder::Nsg => 50.0 * (2.0 * degree).min(64.0).max(degree) + 45.0 * construction,
            GraphBuilder::Vamana { .. } => 75.0 * construction * (degree / 32.0).sqrt() * self.depth(),
        }
    }

    fn lists(&self, spec: &ListsSpec) -> f64 {
        let coarse = spec.cells.as_ref().map_or(0.0, |cells| self.cells(cells));
        coarse + self.code(&spec.code) + spec.refine.as_ref().map_or(0.0, |code| self.learn(code))
    }

    fn cells(&self, cells: &CellsSpec) -> f64 {
        let products = match &cells.partition {
            Partition::Nearest { count, router } => {
                let count = f64::from(*count);
                let seen = self.n().min(count * CENTROID_SAMPLE as f64);
                let two_levels = count > f64::from(1 << 14);
                let a_round = if two_levels { 2.0 * count.sqrt() } else { count / 2.0 };
                let assigned = if count > f64::from(1 << 16) && router.is_some() { 4000.0 } else { count };
                10.0 * seen * a_round + self.n() * assigned
            }
            Partition::Product { bits } => {
                let count = f64::from(1u32 << bits);
                10.0 * self.n().min(count * CENTROID_SAMPLE as f64) * count + self.n() * count
            }
        };
        products * self.d() * self.machine.multiply
    }

    fn code(&self, spec: &quant::Spec) -> f64 {
        let turned = self.n() * self.d() * self.d() * self.machine.multiply * spec.changes.len() as f64;
        turned + self.learn(&spec.code)
    }

    /// Seconds to learn a code and to put all rows into it.
    fn learn(&self, code: &Code) -> f64 {
        let (n, d, Machine { multiply, near, stream, .. }) = (self.n(), self.d(), *self.machine);
        let seen = n.min(CODE_SAMPLE as f64);
        let words = |count: f64, rounds: f64| (seen.min(256.0 * count) * rounds + n) * count * d * multiply;
        match code {
            Code::Full(_) | Code::Half(_) => n * d * 8.0 * stream,
            Code::Scalar(_) | Code::Lvq(_) | Code::Sign(_) => n * d * 6.0 * near,
            Code::RaBitQ(_) => n * d * 24.0 * near,
            Code::PqFastScan(_) => words(16.0, 25.0) * 2.0,
            Code::Anisotropic(_) => words(16.0, 100.0) * 2.0,
            Code::Pq(config) => words(f64::from(1u32 << config.bits.min(16)), 25.0),
            Code::Polysemous(_) => words(256.0, 25.0) * 2.0,
            Code::Additive(_) => words(256.0, 60.0) * 64.0,
        }
    }

    /// Seconds of a query alone on one thread.
    pub(super) fn query(&self, spec: &Spec) -> f64 {
        match &spec.layout {
            Layout::Scan => self.n() * self.d() * 4.0 * self.machine.stream.max(self.machine.near / 4.0),
            Layout::Graph(graph) => {
                let row = match graph.code() {
                    Some(code) => self.machine.miss / 2.0 + self.coded(code),
                    None => self.row(),
                };
                let again = if graph.refine().is_some() { BEAM.min(K * RERANK) * self.row() } else { 0.0 };
                25.0 * BEAM * self.depth() * row + again
            }
            &Layout::Symqg(shape) => self.fused(shape),
            Layout::Lists(lists) => self.visited(lists),
        }
    }

    fn fused(&self, shape: SymqgSpec) -> f64 {
        let block = self.machine.miss + self.d() * self.machine.near * shape.degree() as f64 / 32.0;
        3.0 * 2.0 * BEAM * self.depth() * (self.row() + block)
    }

    fn visited(&self, spec: &ListsSpec) -> f64 {
        let Machine { multiply, miss, .. } = *self.machine;
        let (n, d) = (self.n(), self.d());
        let (centroids, read) = match spec.cells.as_ref().map(|cells| &cells.partition) {
            None => (0.0, n),
            Some(Partition::Nearest { count, router }) => {
                let probes = own_probes(*count as usize) as f64;
                let compared = match router {
                    Some(_) => 20.0 * probes * self.row(),
                    None => f64::from(*count) * d * multiply * 2.0,
                };
                (compared + probes * 2.0 * miss, n * probes / f64::from(*count))
            }
            Some(partition @ Partition::Product { bits }) => {
                let probes = own_probes(partition.lists()) as f64;
                let compared = f64::from(1u32 << bits) * d * multiply * 2.0;
                (compared + probes * 2.0 * miss, n * probes / partition.lists() as f64)
            }
        };
        let tables = d * 256.0 * multiply + spec.code.changes.len() as f64 * d * d * multiply * 2.0;
        let again = if spec.refine.is_some() { K * RERANK * self.row() } else { 0.0 };
        centroids + tables + read * self.coded(&spec.code) + again
    }

    /// Seconds of a code that is read in order.
    fn coded(&self, spec: &quant::Spec) -> f64 {
        let (d, Machine { near, stream, .. }) = (self.d(), *self.machine);
        match &spec.code {
            Code::Full(_) => d * 4.0 * stream.max(near / 4.0),
            Code::Half(_) => d * near,
            Code::Scalar(_) | Code::Lvq(_) => 1.5 * d * near,
            Code::Sign(_) => d * near / 16.0,
            Code::RaBitQ(_) => d * near / 4.0,
            Code::PqFastScan(config) => config.parts as f64 * near / 3.0,
            Code::Anisotropic(config) => config.parts as f64 * near / 3.0,
            Code::Pq(config) => config.parts as f64 * near * 5.0,
            Code::Polysemous(config) => config.parts as f64 * near,
            Code::Additive(_) => 8.0 * near * 5.0,
        }
    }
}
