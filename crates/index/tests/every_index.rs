//! What holds for every spec and metric, checked against the exact scan and against plain loops.

mod common;

use common::{built, clustered};
use data::{Hit, Hits, Id, Metric, Rows};
use deepembed_index::{
    BuildError, Effort, Filter, Index, Phase, Request, SearchError, Spec, Stats, Watch, recall,
};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};

const METRICS: [Metric; 2] = [Metric::L2, Metric::Dot];
const DIM: usize = 24;
/// How lines of graphs begin.
const GRAPHS: [&str; 7] = ["HNSW", "NSW", "KNNG", "EFANNA", "NSG", "Vamana", "SymQG"];

fn some(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

fn beam(n: usize) -> Effort {
    Effort { beam: Some(some(n)), ..Effort::default() }
}

/// A beam of 12 where the index reads it.
fn narrow(index: &dyn Index) -> Effort {
    Effort { beam: index.effort().beam.and(NonZeroUsize::new(12)), ..Effort::default() }
}

/// All lists where the index has any.
fn widest(index: &dyn Index) -> Effort {
    Effort { probes: index.effort().probes.and(Some(NonZeroUsize::MAX)), ..Effort::default() }
}

/// The index, or none where the rows are too few or too odd for its lists or its code.
fn possible(spec: &str, rows: Rows<'_, f32>, metric: Metric) -> Option<Box<dyn Index>> {
    match deepembed_index::build(&spec.parse().unwrap(), rows, metric, 7, &Watch::none()) {
        Ok(index) => Some(index),
        Err(BuildError::TooFew { .. } | BuildError::Train(_)) if spec.contains(['I', 'Q']) => None,
        Err(error) => panic!("{spec}: {error}"),
    }
}

fn answers(index: &dyn Index, queries: Rows<'_, f32>, request: &Request<'_>) -> (Hits, Stats) {
    let mut hits = Hits::default();
    let stats = index.search(queries, request, &mut hits).unwrap();
    (hits, stats)
}

/// The definition: all distances in `f64`, sorted.
fn plain(rows: Rows<'_, f32>, query: &[f32], metric: Metric, k: usize) -> Vec<(f64, Id)> {
    let distance = |row: &[f32]| -> f64 {
        let pairs = row.iter().zip(query).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        match metric {
            Metric::L2 => pairs.map(|(a, b)| (a - b).powi(2)).sum(),
            Metric::Dot => -pairs.map(|(a, b)| a * b).sum::<f64>(),
        }
    };
    let mut all: Vec<(f64, Id)> = rows.iter().map(distance).zip(0..).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all.truncate(k);
    all
}

#[test]
fn the_scan_is_the_definition() {
    let (values, queries) = (clustered(700, 13, 5, 1), clustered(40, 13, 5, 2));
    let (rows, queries) = (Rows::new(&values, 13).unwrap(), Rows::new(&queries, 13).unwrap());
    for metric in METRICS {
        let scan = built("Flat", rows, metric, 0);
        let (hits, stats) = answers(&*scan, queries, &Request::top(some(9)));
        assert_eq!(stats, Stats { distances: 700 * 40, ..Stats::default() });
        for (query, hits) in queries.iter().zip(hits.iter()) {
            let want = plain(rows, query, metric, 9);
            assert_eq!(hits.len(), 9);
            for (hit, (distance, id)) in hits.iter().zip(want) {
                assert!((f64::from(hit.distance) - distance).abs() < 1e-4 * (1.0 + distance.abs()));
                assert_eq!(hit.id, id);
            }
        }
    }
}

#[test]
fn every_spec_finds_the_truth() {
    // Queries come from the clusters of the rows, and are not among them.
    let (values, queries) = (clustered(12_000, DIM, 40, 3), clustered(200, DIM, 40, 4));
    let (rows, queries) = (Rows::new(&values, DIM).unwrap(), Rows::new(&queries, DIM).unwrap());
    for metric in METRICS {
        let exact = built("Flat", rows, metric, 0);
        for spec in Spec::EXAMPLES {
            let index = built(spec, rows, metric, 7);
            assert_eq!((index.spec().to_string().as_str(), index.len()), (spec, rows.len()));
            assert_eq!((index.dim(), index.metric()), (DIM, metric));
            let got = recall(&*index, &*exact, queries, some(10), Effort::default()).unwrap();
            assert!(got >= 0.95, "{spec} {metric}: recall@10 {got}");
        }
    }
}

#[test]
fn rows_in_order_of_their_class_are_found_too() {
    let mut values = Vec::new();
    for class in 0..8 {
        let centre: Vec<f32> = clustered(1, DIM, 8, class);
        values.extend(
            clustered(800, DIM, 1, class).iter().zip((0..DIM).cycle()).map(|(v, i)| v + 4.0 * centre[i]),
        );
    }
    let rows = Rows::new(&values, DIM).unwrap();
    let (exact, index) = (built("Flat", rows, Metric::L2, 0), built("HNSW16", rows, Metric::L2, 7));
    let got = recall(&*index, &*exact, rows.slice(0..6400), some(10), Effort::default()).unwrap();
    assert!(got >= 0.98, "recall@10 {got}");
}

#[test]
fn a_beam_of_all_rows_is_exact() {
    let (values, queries) = (clustered(2500, 8, 3, 5), clustered(20, 8, 3, 6));
    let (rows, queries) = (Rows::new(&values, 8).unwrap(), Rows::new(&queries, 8).unwrap());
    for metric in METRICS {
        let (exact, index) = (built("Flat", rows, metric, 0), built("HNSW4_efc20", rows, metric, 7));
        let request = Request { effort: beam(rows.len()), ..Request::top(some(30)) };
        let truth = answers(&*exact, queries, &Request::top(some(30))).0;
        assert_eq!(answers(&*index, queries, &request).0, truth);
    }
}

#[test]
fn thread_count_changes_no_answer_and_no_count() {
    let values = clustered(5000, DIM, 20, 8);
    let rows = Rows::new(&values, DIM).unwrap();
    for spec in Spec::EXAMPLES {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let index = built(spec, rows, Metric::L2, 7);
                answers(&*index, rows.slice(0..300), &Request::top(some(10)))
            })
        };
        let one = run(1);
        assert!(one == run(2) && one == run(8), "{spec}");
    }
}

#[test]
fn a_query_finds_the_same_alone_and_among_others() {
    let (values, queries) = (clustered(3000, DIM, 20, 8), clustered(150, DIM, 20, 9));
    let (rows, queries) = (Rows::new(&values, DIM).unwrap(), Rows::new(&queries, DIM).unwrap());
    // Codes that round, gate and estimate beside those of the examples.
    let more = ["IVF16,PQ12x4fs,Refine(SQ8)", "IVF16_res,PQ12x4fs", "IVF16,PQ4x8ht12", "IVF16_res,PQ4x8ht12"];
    let more =
        more.into_iter().chain(["IVF16,RaBitQ4", "IVF16_res,RaBitQ", "OPQ4,IVF16_res,PQ4", "IVF16,Bits"]);
    for spec in Spec::EXAMPLES.into_iter().chain(more) {
        for metric in METRICS {
            let index = built(spec, rows, metric, 7);
            let probes = index.effort().probes.and(NonZeroUsize::new(7));
            let effort = Effort { probes, ..Effort::default() };
            let third = |id: Id| id.is_multiple_of(3);
            for filter in [Filter::All, Filter::When(&third)] {
                let request = Request { k: some(20), filter, effort };
                let (together, stats) = answers(&*index, queries, &request);
                let mut sum = Stats::default();
                for (i, hits) in together.iter().enumerate() {
                    let (alone, stats) = answers(&*index, queries.slice(i..i + 1), &request);
                    assert_eq!(hits, alone.of(0), "{spec} {metric}");
                    sum += stats;
                }
                assert_eq!(sum, stats, "{spec} {metric}");
            }
        }
    }
}

#[test]
fn filters_return_only_what_passes_and_all_of_it() {
    let (values, queries) = (clustered(6000, DIM, 20, 8), clustered(15, DIM, 20, 9));
    let (rows, queries) = (Rows::new(&values, DIM).unwrap(), Rows::new(&queries, DIM).unwrap());
    for spec in Spec::EXAMPLES {
        let (exact, index) = (built("Flat", rows, Metric::L2, 0), built(spec, rows, Metric::L2, 7));
        // From every second row to a single one and to none.
        for every in [2, 3, 10, 100, 1000, 6000, u64::MAX] {
            let keep = |id: Id| id % every == every.min(6000) - 1;
            let request = Request { filter: Filter::When(&keep), ..Request::top(some(10)) };
            let truth = answers(&*exact, queries, &request).0;
            // A narrow beam makes the walk cheaper than the scan for the wider filters.
            let effort = narrow(&*index);
            let (got, stats) = answers(&*index, queries, &Request { effort, ..request });
            // A graph over centroids is walked whatever passes.
            if !spec.starts_with("IVF") {
                let walks = GRAPHS.iter().any(|graph| spec.starts_with(graph));
                assert_eq!(stats.hops > 0, walks && every <= 3, "{spec} 1/{every}");
            }
            let passing = (0..6000).filter(|&id| keep(id)).count();
            let mut right = 0;
            for (truth, got) in truth.iter().zip(got.iter()) {
                assert_eq!(got.len(), passing.min(10), "{spec} 1/{every}");
                assert!(got.iter().all(|hit| keep(hit.id)));
                right += got.iter().filter(|hit| truth.iter().any(|other| other.id == hit.id)).count();
            }
            // Links to the nearest alone need a wider beam than this.
            let nearest_alone = ["NSW", "KNNG", "EFANNA"].iter().any(|graph| spec.starts_with(graph));
            let least = if nearest_alone { 0.9 } else { 0.95 };
            assert!(right as f64 >= least * (15 * passing.min(10)) as f64, "{spec} 1/{every}: {right}");
        }
    }
}

#[test]
fn all_ways_to_name_the_same_rows_find_the_same() {
    // Few enough rows that a predicate is asked about all of them when the search is planned.
    let (values, queries) = (clustered(1000, DIM, 20, 8), clustered(15, DIM, 20, 9));
    let (rows, queries) = (Rows::new(&values, DIM).unwrap(), Rows::new(&queries, DIM).unwrap());
    for spec in Spec::EXAMPLES {
        let index = built(spec, rows, Metric::L2, 7);
        for every in [1, 2, 7, 50, 400] {
            let keep = |id: Id| id % every == every - 1;
            let ids: Vec<u32> = (0..1000).filter(|&id| keep(id.into())).collect();
            let mut words = vec![0u64; 16];
            ids.iter().for_each(|&id| words[id as usize / 64] |= 1 << (id % 64));
            // Numbers that are no rows name none.
            let beyond: Vec<u32> = ids.iter().copied().chain([1000, u32::MAX]).collect();
            let find = |filter| answers(&*index, queries, &Request { filter, ..Request::top(some(10)) });
            let want = find(Filter::When(&keep));
            assert!(want.0.iter().flatten().all(|hit| keep(hit.id)));
            assert!(want.0.iter().all(|list| list.len() == ids.len().min(10)), "{spec} 1/{every}");
            for filter in [Filter::Bitmap(&words), Filter::Ids(&ids), Filter::Ids(&beyond)] {
                assert!(find(filter) == want, "{spec} 1/{every}");
            }
        }
    }
}

#[test]
fn few_rows_that_pass_are_all_compared() {
    let (values, queries) = (clustered(3000, DIM, 20, 8), clustered(15, DIM, 20, 9));
    let (rows, queries) = (Rows::new(&values, DIM).unwrap(), Rows::new(&queries, DIM).unwrap());
    let ids: Vec<u32> = (0..3000).step_by(151).collect();
    let filter = Filter::Ids(&ids);
    for metric in METRICS {
        for spec in ["IVF16,SQ8", "IVF32(IVF4,Flat)_res,SQ8", "IVF16_res,PQ4,Refine(F16)", "PQ12x4", "LVQ8"] {
            let index = built(spec, rows, metric, 7);
            let all = Request { effort: widest(&*index), ..Request::top(some(3000)) };
            let (mut want, _) = answers(&*index, queries, &all);
            let kept =
                want.iter().map(|list| list.iter().filter(|hit| filter.passes(hit.id)).take(9).copied());
            let kept: Vec<Vec<Hit>> = kept.map(Iterator::collect).collect();
            want.clear();
            kept.into_iter().for_each(|list| want.push(list));
            let (got, stats) = answers(&*index, queries, &Request { filter, ..Request::top(some(9)) });
            assert_eq!(got, want, "{spec} {metric}");
            assert_eq!(stats.distances, 15 * ids.len() as u64, "{spec} {metric}");
        }
    }
}

#[test]
fn an_open_gate_changes_no_list_and_a_narrow_one_lets_the_query_through() {
    let values = clustered(3000, DIM, 20, 8);
    let rows = Rows::new(&values, DIM).unwrap();
    for lists in ["IVF16,", "IVF16_res,", "IMI2x3_res,"] {
        let find = |code: &str, k| {
            let index = built(&format!("{lists}{code}"), rows, Metric::L2, 7);
            answers(&*index, rows.slice(0..60), &Request::top(some(k))).0
        };
        // 32 bits of 32: all pass that differ in one bit less.
        let open = find("PQ4ht32", 10);
        assert!(open == find("PQ4", 10), "{lists}");
        // Codes of residuals are compared with that of the query's residual, which for a row is its own code.
        let (narrow, exact) = (find("PQ4ht2", 1), find("PQ4", 1));
        let same = narrow.iter().zip(exact.iter()).filter(|(narrow, exact)| narrow[0] == exact[0]).count();
        assert!(same >= 57, "{lists} {same}");
        assert!(lists.starts_with("IMI") || find("PQ4ht2", 10) != open, "{lists}");
    }
}

#[test]
fn a_rare_filter_costs_a_scan_of_what_passes() {
    let values = clustered(6000, DIM, 20, 8);
    let rows = Rows::new(&values, DIM).unwrap();
    let index = built("HNSW16", rows, Metric::L2, 7);
    let keep = |id: Id| id < 12;
    let request = Request { filter: Filter::When(&keep), ..Request::top(some(3)) };
    assert_eq!(answers(&*index, rows.slice(0..2), &request).1, Stats { distances: 24, ..Stats::default() });
}

#[test]
fn ties_go_to_the_lower_id() {
    let values = clustered(12, 4, 3, 1).repeat(40);
    let rows = Rows::new(&values, 4).unwrap();
    let scan = built("Flat", rows, Metric::L2, 7);
    for (i, hits) in answers(&*scan, rows.slice(0..12), &Request::top(some(15))).0.iter().enumerate() {
        let want: Vec<Hit> = (0..15).map(|copy| Hit { id: (copy * 12 + i) as Id, distance: 0.0 }).collect();
        assert_eq!(hits, want);
    }
}

#[test]
fn more_duplicates_than_links_hide_nothing() {
    // Fifty copies of each of five rows among others; a node has 32 links.
    let mut values = clustered(3000, DIM, 10, 1);
    for copy in 0..50 {
        for row in 0..5 {
            let (from, to) = (row * DIM, (500 + 37 * copy + 3 * row) * DIM);
            values.copy_within(from..from + DIM, to);
        }
    }
    let rows = Rows::new(&values, DIM).unwrap();
    for metric in METRICS {
        let (exact, index) = (built("Flat", rows, metric, 0), built("HNSW16", rows, metric, 7));
        let copies = recall(&*index, &*exact, rows.slice(0..5), some(51), Effort::default()).unwrap();
        let others = recall(&*index, &*exact, rows.slice(5..400), some(10), Effort::default()).unwrap();
        assert!(copies >= 0.95 && others >= 0.95, "{metric}: copies {copies}, others {others}");
    }
}

#[test]
fn few_rows_and_many_answers() {
    for spec in Spec::EXAMPLES {
        for n in 1..6 {
            let values = clustered(n, 3, 2, 1);
            let Some(index) = possible(spec, Rows::new(&values, 3).unwrap(), Metric::L2) else { continue };
            let request = Request::top(NonZeroUsize::MAX);
            let (hits, _) = answers(&*index, Rows::new(&[0.0; 6], 3).unwrap(), &request);
            assert_eq!((hits.len(), hits.of(0).len(), hits.of(1).len()), (2, n, n), "{spec}");
            assert!(hits.of(0).is_sorted_by(|a, b| a.order(b).is_lt()));
            assert!(answers(&*index, Rows::new(&[], 3).unwrap(), &request).0.is_empty());
        }
    }
}

#[test]
fn refusals_say_why() {
    let values = clustered(10, 3, 2, 1);
    let rows = Rows::new(&values, 3).unwrap();
    let scan = built("Flat", rows, Metric::L2, 0);
    let mut hits = Hits::default();
    let request = Request { effort: beam(9), ..Request::top(some(1)) };
    let refused = scan.search(rows, &request, &mut hits).unwrap_err();
    assert_eq!(refused, SearchError::UnusedKnob { spec: Box::new(Spec::FLAT), knob: "beam" });
    assert_eq!(refused.to_string(), "Flat reads no beam; leave it out");
    let other = scan.search(Rows::new(&[0.0; 4], 4).unwrap(), &Request::top(some(1)), &mut hits);
    assert_eq!(other.unwrap_err(), SearchError::Dim { got: 4, want: 3 });
    let nan = [0.0, 0.0, 0.0, 1.0, f32::NAN, 0.0];
    let nan = scan.search(Rows::new(&nan, 3).unwrap(), &Request::top(some(1)), &mut hits);
    assert_eq!(nan.unwrap_err(), SearchError::NotFinite { query: 1 });
    let request = Request { filter: Filter::Ids(&[1, 5, 5]), ..Request::top(some(1)) };
    let refused = scan.search(rows, &request, &mut hits).unwrap_err();
    assert!(refused.to_string().starts_with("id 2 of the filter"), "{refused}");
    let rows = [0.0, f32::INFINITY];
    let bad =
        deepembed_index::build(&Spec::FLAT, Rows::new(&rows, 1).unwrap(), Metric::L2, 0, &Watch::none());
    assert_eq!(
        bad.err().unwrap().to_string(),
        "row 1 holds a value that is not finite; remove it or embed it again"
    );
    let empty =
        deepembed_index::build(&Spec::FLAT, Rows::new(&[], 1).unwrap(), Metric::L2, 0, &Watch::none());
    assert_eq!(empty.err().unwrap(), BuildError::Empty);
}

#[test]
fn huge_values_do_no_harm() {
    // Squares overflow to infinity and sums of them to NaN; order is lost, nothing else.
    let values: Vec<f32> = (0..900).map(|i| if i % 2 == 0 { 3e38 } else { -3e38 }).collect();
    let rows = Rows::new(&values, 3).unwrap();
    for metric in METRICS {
        for spec in Spec::EXAMPLES {
            let Some(index) = possible(spec, rows, metric) else { continue };
            let (hits, _) =
                answers(&*index, rows, &Request { effort: widest(&*index), ..Request::top(some(10)) });
            assert!(hits.iter().all(|list| list.len() == 10), "{spec} {metric}");
        }
    }
}

/// What a build tells, until it has told `calls` times and is stopped.
fn told(spec: &str, values: &[f32], calls: usize) -> (Vec<(Phase, usize, usize)>, Option<BuildError>) {
    let (seen, stop) = (std::sync::Mutex::new(Vec::new()), AtomicBool::new(false));
    let progress = |phase, done, all| {
        let mut seen = seen.lock().unwrap();
        seen.push((phase, done, all));
        stop.store(seen.len() >= calls, Ordering::Relaxed);
    };
    let watch = Watch { stop: &stop, progress: &progress };
    let rows = Rows::new(values, 4).unwrap();
    let built = deepembed_index::build(&spec.parse().unwrap(), rows, Metric::L2, 0, &watch);
    (seen.into_inner().unwrap(), built.err())
}

#[test]
fn progress_rises_in_each_phase_and_ends_with_all_rows() {
    let values = clustered(2500, 4, 2, 1);
    for spec in Spec::EXAMPLES {
        let (seen, error) = told(spec, &values, usize::MAX);
        assert_eq!(error, None, "{spec}");
        let &(_, done, all) = seen.last().unwrap();
        assert_eq!((done, all), (2500, 2500), "{spec}");
        for pair in seen.windows(2) {
            let ((phase, done, all), (next, then, _)) = (pair[0], pair[1]);
            assert!(phase != next || done <= then || done == all, "{spec} {pair:?}");
        }
    }
}

#[test]
fn a_build_ends_when_it_is_stopped_wherever_it_is() {
    let values = clustered(700, 4, 2, 1);
    for spec in Spec::EXAMPLES {
        let calls = told(spec, &values, usize::MAX).0.len();
        for i in 0..calls.min(6) {
            // The first and the last call, and some between.
            let call = 1 + i * (calls - 1) / calls.min(6).saturating_sub(1).max(1);
            let (seen, error) = told(spec, &values, call);
            assert_eq!(error, Some(BuildError::Cancelled), "{spec} at {call} of {calls}");
            // A code tells of its training without asking each time.
            assert!(seen.len() <= call + 1, "{spec} went on from {call} to {}", seen.len());
        }
    }
}

/// The work of fixed searches, so that a change of algorithm shows even where recall does not.
/// `GOLDEN=write cargo test` records; reviewers read the difference.
#[test]
fn the_work_is_what_it_was() {
    let values = clustered(5000, DIM, 20, 8);
    let rows = Rows::new(&values, DIM).unwrap();
    let mut lines = String::new();
    for metric in METRICS {
        for spec in Spec::EXAMPLES {
            let index = built(spec, rows, metric, 7);
            let half = |id: Id| id.is_multiple_of(2);
            for (name, filter) in [("all", Filter::All), ("half", Filter::When(&half))] {
                let request = Request { filter, effort: narrow(&*index), ..Request::top(some(10)) };
                let (hits, stats) = answers(&*index, rows.slice(0..100), &request);
                let ids: Id = hits.iter().flatten().map(|hit| hit.id).sum();
                let Stats { distances, hops, lists } = stats;
                lines += &format!(
                    "{spec} {metric} {name}: distances {distances}, hops {hops}, lists {lists}, sum of ids {ids}\n"
                );
            }
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/work.txt");
    if std::env::var("GOLDEN").is_ok_and(|value| value == "write") {
        std::fs::write(path, &lines).unwrap();
    }
    assert_eq!(lines, std::fs::read_to_string(path).unwrap());
}
