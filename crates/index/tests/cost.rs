//! Planned bytes against those of built indexes.

mod common;

use common::{built, clustered, provenance};
use data::{Metric, Rows};
use deepembed_index::Spec;
use deepembed_index::tune::{Extent, Machine, plan};

const MACHINE: Machine = Machine { threads: 2, multiply: 1e-11, near: 1e-10, miss: 1e-7, stream: 1e-10 };

#[test]
fn planned_bytes_are_those_of_built_indexes() {
    let more =
        ["IVF64,PQ16x4fs,Refine(SQ8)", "IVF30_res,PQ8x4fs", "OPQ8,IVF32,PQ8x4", "IVF32,RaBitQ", "PCA16,SQ8"];
    for (n, dim, metric) in [(3000, 32, Metric::L2), (3000, 32, Metric::Dot), (5000, 48, Metric::L2)] {
        let values = clustered(n, dim, 20, 3);
        let rows = Rows::new(&values, dim).unwrap();
        for line in Spec::EXAMPLES.into_iter().chain(more) {
            let extent = Extent { rows: n, dim, metric, whole: false };
            let planned = plan(&line.parse().unwrap(), &extent, &MACHINE).unwrap();
            let index = built(line, rows, metric, 1);
            let share = planned.index_bytes as f64 / index.bytes() as f64;
            // Blocks of codes are padded list by list, by chance more or less.
            let off = if more.contains(&line) { 0.03 } else { 0.02 };
            assert!((share - 1.0).abs() < off, "{line} {metric} {n} x {dim}: {share}");
            assert!(planned.file_bytes > planned.index_bytes && planned.peak_bytes > planned.index_bytes);
        }
    }
}

#[test]
fn planned_files_are_as_long_as_saved_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (n, dim) = (3000, 32);
    let values = clustered(n, dim, 20, 3);
    for line in Spec::EXAMPLES {
        let extent = Extent { rows: n, dim, metric: Metric::L2, whole: false };
        let planned = plan(&line.parse().unwrap(), &extent, &MACHINE).unwrap().file_bytes;
        let index = built(line, Rows::new(&values, dim).unwrap(), Metric::L2, 1);
        let path = folder.path().join("index");
        deepembed_index::save(&path, &*index, &provenance(dim), &[]).unwrap();
        let length = std::fs::metadata(&path).unwrap().len();
        assert!(
            planned.abs_diff(length) < length / 20 + 12_288,
            "{line}: {planned} planned, {length} written"
        );
    }
}

#[test]
fn more_rows_cost_more() {
    for line in Spec::EXAMPLES {
        let spec: Spec = line.parse().unwrap();
        let at = |rows, dim| {
            plan(&spec, &Extent { rows, dim, metric: Metric::L2, whole: false }, &MACHINE).unwrap()
        };
        let (few, many) = (at(100_000, 32), at(1_000_000, 64));
        assert!(few.index_bytes < many.index_bytes && few.peak_bytes < many.peak_bytes, "{line}");
        assert!(few.build_seconds < many.build_seconds && few.query_seconds < many.query_seconds, "{line}");
        assert!(many.build_seconds.is_finite() && many.query_seconds > 0.0, "{line}");
    }
}

#[test]
fn counts_beyond_all_memory_are_planned_without_overflow() {
    let extent = Extent { rows: usize::MAX / 2, dim: 4096, metric: Metric::L2, whole: false };
    let planned = plan(&"HNSW16".parse().unwrap(), &extent, &MACHINE).unwrap();
    assert!(planned.index_bytes > 1 << 60 && planned.build_seconds.is_finite());
}

#[test]
fn the_machine_is_measured() {
    let machine = Machine::measure();
    let Machine { threads, multiply, near, miss, stream } = machine;
    assert!(threads > 0 && multiply > 0.0 && near > 0.0 && miss >= 0.0 && stream > 0.0, "{machine:?}");
    assert!(multiply < 1e-7 && near < 1e-6 && miss < 1e-4 && stream < 1e-7, "{machine:?}");
}
