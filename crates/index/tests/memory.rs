//! The planned memory of a build against what its allocations come to, in a test program of its own.
//!
//! Arrays of fewer than 2 MiB come from the allocator that counts; larger ones do not, so the rows are few. The rows
//! of SymQG never do and are added.

mod common;

use common::clustered;
use data::{Metric, Rows};
use deepembed_index::tune::{Extent, Machine, plan};
use deepembed_index::{Layout, Spec, Watch, build};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MACHINE: Machine = Machine { threads: 2, multiply: 1e-11, near: 1e-10, miss: 1e-7, stream: 1e-10 };

#[test]
fn builds_take_no_more_than_was_planned() {
    let (n, dim) = (6000, 32);
    let values = clustered(n, dim, 20, 3);
    let given = values.len() * size_of::<f32>();
    let rows = Rows::new(&values, dim).unwrap();
    let more =
        ["IVF64,PQ16x4fs,Refine(SQ8)", "OPQ8,IVF32_res,PQ8x4", "IVF128,RaBitQ", "PCA16,SQ8", "HNSW8,PQ8x4"];
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for metric in [Metric::L2, Metric::Dot] {
        for line in Spec::EXAMPLES.into_iter().chain(more) {
            let spec: Spec = line.parse().unwrap();
            let extent = Extent { rows: n, dim, metric, whole: false };
            let planned = plan(&spec, &extent, &MACHINE).unwrap().peak_bytes as usize;
            let before = MEMORY.current_usage();
            MEMORY.reset_peak_usage();
            let index = pool.install(|| build(&spec, rows, metric, 1, &Watch::none())).unwrap();
            let mut peak = MEMORY.peak_usage() - before + given;
            if matches!(spec.layout, Layout::Symqg(_)) {
                peak += index.bytes();
            }
            assert!(peak <= planned, "{line} {metric}: {planned} planned, {peak} taken");
            // What is planned is no wild guess either.
            assert!(planned < 2 * peak + (12 << 20), "{line} {metric}: {planned} planned, {peak} taken");
        }
    }
}
