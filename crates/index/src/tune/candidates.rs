//! Compositions that may reach a goal: templates over the grammar that fit into memory, the fastest first.

use super::cost::{Extent, Plan, plan};
use super::machine::Machine;
use crate::{BuildError, CellsSpec, Layout, ListsSpec, Partition, Spec};

/// A composition with what it costs over all rows.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The composition.
    pub spec: Spec,
    /// Its costs.
    pub plan: Plan,
}

/// What templates have in common; the fastest of each family is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Scan,
    Graph,
    CodedGraph,
    Fused,
    /// Lists whose best rows are ranked again by the rows themselves, by a code, or not at all.
    Exact,
    Finer,
    Coded,
}

fn family(spec: &Spec) -> Family {
    match &spec.layout {
        Layout::Scan => Family::Scan,
        Layout::Symqg(_) => Family::Fused,
        Layout::Graph(graph) if graph.code().is_none() => Family::Graph,
        Layout::Graph(_) => Family::CodedGraph,
        Layout::Lists(ListsSpec { refine: Some(quant::codes::Code::Full(_)), .. }) => Family::Exact,
        Layout::Lists(ListsSpec { refine: Some(_), .. }) => Family::Finer,
        Layout::Lists(_) => Family::Coded,
    }
}

/// Every template for an extent, whatever it costs.
fn templates(extent: &Extent) -> Vec<Spec> {
    let (n, d) = (extent.rows, extent.dim);
    let mut lines: Vec<String> = ["Flat", "HNSW16", "HNSW32", "SymQG32", "SymQG64", "Vamana32_a1.2", "NSG32"]
        .into_iter()
        .map(str::to_owned)
        .collect();
    for code in ["SQ8", "LVQ8", "SQ8,Refine(F16)", "SQ4,Refine(Flat)", "LVQ4x8", "SQ4,Refine(SQ8)"] {
        lines.push(format!("HNSW16,{code}"));
    }
    lines.push("Vamana32_a1.2,SQ8".into());
    // About four times the root of the rows, and no fewer than 39 rows a list.
    let lists = (4.0 * (n as f64).sqrt()) as usize;
    let lists = lists.min(n / 39).max(1).next_power_of_two();
    let cells = |count: usize| match count {
        0..16_384 => format!("IVF{count}"),
        _ => format!("IVF{count}(HNSW32)"),
    };
    for count in [lists / 2, lists].into_iter().filter(|&count| count > 1 && n / count >= 16) {
        let cells = cells(count);
        let parts = |values: usize| (1..=d / values).rev().find(|parts| d.is_multiple_of(*parts));
        let mut codes =
            vec!["Flat".to_owned(), "F16".to_owned(), "SQ8".to_owned(), "SQ4,Refine(SQ8)".to_owned()];
        codes.extend(["RaBitQ", "RaBitQ4"].map(str::to_owned));
        for parts in [parts(2), parts(4)].into_iter().flatten().filter(|parts| *parts > 1) {
            codes.push(format!("PQ{parts}x4fs"));
        }
        for code in codes {
            if !code.contains("Refine") && !["Flat", "F16", "SQ8"].contains(&code.as_str()) {
                lines.extend(["Flat", "F16", "SQ8"].map(|finer| format!("{cells},{code},Refine({finer})")));
            }
            lines.push(format!("{cells},{code}"));
        }
        if let Some(parts) = parts(8).filter(|parts| *parts > 1) {
            lines.push(format!("{cells},PQ{parts}"));
        }
    }
    lines.iter().filter_map(|line| line.parse().ok()).collect()
}

/// The templates that can be built in `memory` bytes, fastest first.
///
/// # Errors
/// The smallest of all, when none fits.
pub fn candidates(
    extent: &Extent,
    memory: Option<u64>,
    machine: &Machine,
) -> Result<Vec<Candidate>, Box<Candidate>> {
    let all = templates(extent).into_iter().filter_map(|spec| {
        let plan = plan(&spec, extent, machine).ok()?;
        Some(Candidate { spec, plan })
    });
    let mut all: Vec<Candidate> = all.collect();
    all.sort_by(|a, b| a.plan.query_seconds.total_cmp(&b.plan.query_seconds));
    let smallest = all.iter().min_by_key(|candidate| candidate.plan.peak_bytes).cloned();
    all.retain(|candidate| memory.is_none_or(|most| candidate.plan.peak_bytes <= most));
    match smallest {
        Some(smallest) if all.is_empty() => Err(Box::new(smallest)),
        _ => Ok(all),
    }
}

/// A composition for an extent that can be built in `memory` bytes, in place of one that cannot: the fastest.
#[must_use]
pub fn fitting(extent: &Extent, memory: u64, machine: &Machine) -> Option<Candidate> {
    candidates(extent, Some(memory), machine).ok().and_then(|all| all.into_iter().next())
}

/// The few that are worth building: the fastest of each family, the exact scan last.
pub(super) fn few(all: &[Candidate]) -> Vec<Candidate> {
    let mut few: Vec<Candidate> = Vec::new();
    for candidate in all {
        if few.iter().all(|other| family(&other.spec) != family(&candidate.spec)) {
            few.push(candidate.clone());
        }
    }
    few.sort_by_key(|candidate| family(&candidate.spec) == Family::Scan);
    few
}

/// The composition for a sample of `rows` of `of` rows: as many lists as the root of them asks for.
pub(super) fn scaled(spec: &Spec, rows: usize, of: usize) -> Result<Spec, BuildError> {
    let Layout::Lists(ListsSpec { cells: Some(cells), code, refine }) = &spec.layout else {
        return Ok(spec.clone());
    };
    let partition = match &cells.partition {
        Partition::Nearest { count, router } => {
            let share = (rows as f64 / of as f64).sqrt();
            let count = ((f64::from(*count) * share).round() as u32).clamp(1, *count);
            // Few centroids are compared as fast as a graph of them is walked.
            let router = router.clone().filter(|_| count >= 16_384);
            Partition::Nearest { count, router }
        }
        &Partition::Product { bits } => Partition::Product { bits },
    };
    let cells = Some(CellsSpec { partition, residual: cells.residual });
    Ok(Spec { layout: Layout::Lists(ListsSpec { cells, code: code.clone(), refine: refine.clone() }) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::Metric;

    const MACHINE: Machine = Machine { threads: 2, multiply: 2e-11, near: 1e-10, miss: 5e-8, stream: 1e-10 };

    fn extent(rows: usize, dim: usize) -> Extent {
        Extent { rows, dim, metric: Metric::L2, whole: false }
    }

    #[test]
    fn what_is_offered_fits() {
        let extent = extent(1_000_000, 96);
        let given = 1_000_000 * 96 * 4;
        let all = candidates(&extent, None, &MACHINE).unwrap();
        assert!(all.len() > 30, "{}", all.len());
        for memory in [given + (200 << 20), given + (500 << 20), 2 << 30] {
            let fit = candidates(&extent, Some(memory), &MACHINE).unwrap();
            assert!(fit.iter().all(|candidate| candidate.plan.peak_bytes <= memory));
            assert!(!fit.is_empty() && fit.len() <= all.len());
            assert!(fit.windows(2).all(|pair| pair[0].plan.query_seconds <= pair[1].plan.query_seconds));
        }
        let smallest = candidates(&extent, Some(given), &MACHINE).unwrap_err();
        assert!(
            smallest.plan.peak_bytes > given
                && fitting(&extent, smallest.plan.peak_bytes, &MACHINE).is_some()
        );
    }

    #[test]
    fn the_few_are_of_several_families() {
        let all = candidates(&extent(1_000_000, 128), None, &MACHINE).unwrap();
        let few = few(&all);
        assert_eq!(few.len(), 7);
        assert_eq!(few[6].spec, Spec::FLAT);
        let families: Vec<Family> = few.iter().map(|candidate| family(&candidate.spec)).collect();
        assert!(families.iter().all(|one| families.iter().filter(|other| *other == one).count() == 1));
    }

    #[test]
    fn odd_dimensions_and_few_rows_have_candidates_too() {
        for (rows, dim) in [(50, 7), (1000, 1), (3000, 13), (20_000, 961)] {
            let all = candidates(&extent(rows, dim), None, &MACHINE).unwrap();
            assert!(all.iter().any(|candidate| candidate.spec == Spec::FLAT), "{rows} x {dim}");
        }
    }

    #[test]
    fn a_sample_has_lists_by_the_root_of_its_rows() {
        let spec: Spec = "IVF4096,PQ64x4fs,Refine(Flat)".parse().unwrap();
        assert_eq!(scaled(&spec, 10_000, 1_000_000).unwrap().to_string(), "IVF410,PQ64x4fs,Refine(Flat)");
        assert_eq!(scaled(&spec, 7, 7).unwrap(), spec);
        let graph: Spec = "HNSW16".parse().unwrap();
        assert_eq!(scaled(&graph, 10, 1000).unwrap(), graph);
        let routed: Spec = "IVF65536(HNSW32),SQ8".parse().unwrap();
        assert_eq!(scaled(&routed, 10_000, 1_000_000).unwrap().to_string(), "IVF6554,SQ8");
    }
}
