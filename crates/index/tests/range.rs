//! Rows within a distance, for every spec.

mod common;

use common::{built, clustered};
use data::{Hit, Hits, Id, Metric, Rows};
use deepembed_index::{Effort, Ending, Filter, Index, Request, SearchError, Spec, Within};
use std::num::NonZeroUsize;

const DIM: usize = 24;
const N: usize = 3000;

fn some(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

fn within(index: &dyn Index, queries: Rows<'_, f32>, request: &Within<'_>) -> (Hits, Vec<Ending>) {
    let mut hits = Hits::default();
    let (endings, _) = index.within(queries, request, &mut hits).unwrap();
    (hits, endings)
}

/// All rows by distance.
fn ranked(index: &dyn Index, query: Rows<'_, f32>, effort: Effort) -> Vec<Hit> {
    let mut hits = Hits::default();
    index.search(query, &Request { effort, ..Request::top(some(N)) }, &mut hits).unwrap();
    hits.of(0).to_vec()
}

#[test]
fn nothing_within_the_radius_is_missing() {
    let (values, queries) = (clustered(N, DIM, 12, 8), clustered(12, DIM, 12, 9));
    let (rows, queries) = (Rows::new(&values, DIM).unwrap(), Rows::new(&queries, DIM).unwrap());
    for metric in [Metric::L2, Metric::Dot] {
        let exact = built("Flat", rows, metric, 7);
        for spec in Spec::EXAMPLES {
            let index = built(spec, rows, metric, 7);
            let probes = index.effort().probes.and(Some(NonZeroUsize::MAX));
            // The default beam of a graph is for fewer answers.
            let beam = index.effort().beam.and(NonZeroUsize::new(600));
            let effort = Effort { probes, beam, ..Effort::default() };
            for rank in [5, 63, 64, 700] {
                let (mut right, mut all) = (0, 0);
                for i in 0..queries.len() {
                    let query = queries.slice(i..i + 1);
                    let truth = ranked(&*exact, query, Effort::default());
                    let radius = truth[rank].distance;
                    let filter = Filter::All;
                    let request = Within { radius, cap: some(N), filter, effort };
                    let (hits, endings) = within(&*index, query, &request);
                    assert!(hits.of(0).iter().all(|hit| hit.distance <= radius), "{spec} {metric}");
                    assert_eq!(endings, [Ending::Complete], "{spec} {metric} {rank}");
                    let ids: std::collections::HashSet<Id> = hits.of(0).iter().map(|hit| hit.id).collect();
                    right += truth[..=rank].iter().filter(|hit| ids.contains(&hit.id)).count();
                    all += rank + 1;
                    let want = if spec == "Flat" { &truth[..] } else { &[] };
                    let inside = want.partition_point(|hit| hit.distance <= radius);
                    assert!(spec != "Flat" || hits.of(0) == &want[..inside]);
                }
                // Codes move rows across the border, and more so the fewer lie within.
                let least = if rank < 63 { 0.6 } else { 0.9 };
                assert!(right as f64 >= least * all as f64, "{spec} {metric} {rank}: {right} of {all}");
            }
        }
    }
}

#[test]
fn lists_end_for_a_reason() {
    let values = clustered(N, DIM, 12, 8);
    let rows = Rows::new(&values, DIM).unwrap();
    let query = rows.slice(3..4);
    let (flat, lists) = (built("Flat", rows, Metric::L2, 7), built("IVF64,Flat", rows, Metric::L2, 7));
    let all = Within { radius: 1e9, cap: some(N), filter: Filter::All, effort: Effort::default() };
    for (cap, len, ending) in [(10, 10, Ending::Full), (N - 1, N - 1, Ending::Full), (N, N, Ending::Complete)]
    {
        let (hits, endings) = within(&*flat, query, &Within { cap: some(cap), ..all });
        assert_eq!((hits.of(0).len(), endings), (len, vec![ending]), "{cap}");
    }
    // Lists that are visited end before the radius does.
    let one = Effort { probes: Some(some(1)), ..Effort::default() };
    let (hits, endings) = within(&*lists, query, &Within { effort: one, ..all });
    assert!(hits.of(0).len() < N);
    assert_eq!(endings, [Ending::Exhausted]);
    let few = |id: Id| id < 7;
    let (hits, endings) = within(&*lists, query, &Within { filter: Filter::When(&few), effort: one, ..all });
    assert_eq!((hits.of(0).len(), endings), (7, vec![Ending::Complete]));
    let (hits, endings) = within(&*flat, rows.slice(0..3), &Within { radius: -1.0, ..all });
    assert!(hits.iter().all(<[Hit]>::is_empty));
    assert_eq!(endings, [Ending::Complete; 3]);
    let refused = flat.within(rows, &Within { effort: one, ..all }, &mut Hits::default()).unwrap_err();
    assert_eq!(refused, SearchError::UnusedKnob { spec: Box::new(Spec::FLAT), knob: "probes" });
    let none = Rows::new(&[], DIM).unwrap();
    assert!(flat.within(none, &all, &mut Hits::default()).unwrap().0.is_empty());
}
