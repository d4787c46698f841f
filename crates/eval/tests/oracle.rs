//! The tiled evaluator against the definitions on a full distance matrix, for any memory and pool.

use data::{Metric, Rows};
use deepembed_eval::{
    Estimate, EvalError, Options, Retrieval, Score, Task, difference, neighbours, retrieval, worst_failures,
};
use proptest::prelude::*;

fn run(task: &Task<'_>, options: &Options, threads: usize) -> Result<Retrieval, EvalError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| retrieval(task, options, &|done, all| assert!(done <= all)))
}

/// Per query: place of the first right answer, average precision, R-precision; none when dropped.
fn naive(task: &Task<'_>, query: usize) -> Option<(usize, f64, f64)> {
    let distance = |other: usize| {
        let pairs = || task.rows.row(query).iter().zip(task.rows.row(other));
        match task.metric {
            Metric::L2 => pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f32>(),
            Metric::Dot => 0.0 - pairs().map(|(a, b)| a * b).sum::<f32>(),
        }
    };
    let mut ranked: Vec<usize> = task
        .gallery
        .iter()
        .copied()
        .filter(|&other| other != query)
        .filter(|&other| task.families.is_none_or(|families| families[other] != families[query]))
        .collect();
    ranked.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)).then(a.cmp(&b)));
    let right: Vec<bool> = ranked.iter().map(|&other| task.labels[other] == task.labels[query]).collect();
    let relevant = right.iter().filter(|right| **right).count();
    let first = right.iter().position(|right| *right)? + 1;
    let hits = |end: usize| right[..end].iter().filter(|right| **right).count() as f64;
    let precisions = (0..relevant).filter(|&i| right[i]).map(|i| hits(i + 1) / (i + 1) as f64);
    Some((first, precisions.sum::<f64>() / relevant as f64, hits(relevant) / relevant as f64))
}

#[derive(Clone, Debug)]
struct Case {
    values: Vec<f32>,
    labels: Vec<u32>,
    families: Vec<u32>,
    queries: Vec<usize>,
    gallery: Vec<usize>,
}

fn case() -> impl Strategy<Value = Case> {
    let picture = (prop::array::uniform2(-4i8..5), 0u32..5, 0u32..12, any::<bool>(), any::<bool>());
    prop::collection::vec(picture, 2..90).prop_map(|pictures| {
        let chosen = |choose: fn(&(bool, bool)) -> bool| {
            let marks = pictures.iter().map(|(_, _, _, asks, answers)| (*asks, *answers));
            marks.enumerate().filter(|(_, mark)| choose(mark)).map(|(i, _)| i).rev().collect::<Vec<_>>()
        };
        Case {
            values: pictures.iter().flat_map(|(row, ..)| row.map(f32::from)).collect(),
            labels: pictures.iter().map(|(_, label, ..)| *label).collect(),
            families: pictures.iter().map(|(_, _, family, ..)| *family).collect(),
            queries: chosen(|(asks, _)| *asks),
            gallery: chosen(|(_, answers)| *answers),
        }
    })
}

proptest! {
    #[test]
    fn agrees_with_the_definitions(case in case(), families: bool, l2: bool, everyone: bool, threads in 1usize..3) {
        let all: Vec<usize> = (0..case.labels.len()).collect();
        let task = Task {
            rows: Rows::new(&case.values, 2).unwrap(),
            metric: if l2 { Metric::L2 } else { Metric::Dot },
            labels: &case.labels,
            families: families.then_some(&case.families[..]),
            queries: if everyone { &all } else { &case.queries },
            gallery: if everyone { &all } else { &case.gallery },
            zero_shot: true,
        };
        let want: Vec<_> =
            task.queries.iter().filter_map(|&query| naive(&task, query).map(|found| (query, found))).collect();
        let options = Options { clusterings: 0, resamples: 20, recall_at: vec![3, 1], ..Options::default() };
        let got = match run(&task, &options, threads) {
            Err(EvalError::NoQueries { .. }) => {
                prop_assert!(want.is_empty());
                return Ok(());
            }
            got => got.unwrap(),
        };
        prop_assert_eq!(got.queries, want.len());
        prop_assert_eq!(got.queries + got.dropped_queries, task.queries.len());
        for (outcome, (query, (first, average_precision, r_precision))) in got.per_query.iter().zip(&want) {
            prop_assert_eq!(outcome.query, *query);
            prop_assert_eq!(outcome.first_right, *first);
            prop_assert!((outcome.average_precision - average_precision).abs() < 1e-12);
            prop_assert!((outcome.r_precision - r_precision).abs() < 1e-12);
        }
        let recall = |k| want.iter().filter(|(_, (first, ..))| *first <= k).count() as f64 / want.len() as f64;
        prop_assert!((got.recall_at(1).unwrap().value - recall(1)).abs() < 1e-12);
        prop_assert!((got.recall_at(3).unwrap().value - recall(3)).abs() < 1e-12);
        prop_assert!(got.recall.iter().all(|(_, e)| e.low <= e.value + 1e-12 && e.value <= e.high + 1e-12));
        let nearest = neighbours(&task, want[0].0, 90).unwrap();
        prop_assert_eq!(nearest.iter().position(|answer| answer.right), Some(want[0].1.0 - 1));
    }
}

/// Twelve classes of nine pictures; the first coordinate tells a class, noise of size `noise` hides it.
fn blurred(noise: f32) -> (Vec<f32>, Vec<u32>) {
    let labels: Vec<u32> = (0..108).map(|i| i % 12).collect();
    let values = labels
        .iter()
        .enumerate()
        .flat_map(|(i, &label)| {
            let wobble = |j: usize| ((i * 7 + j * 13) * 2_654_435 % 1000) as f32 / 1000.0 - 0.5;
            [label as f32 + noise * wobble(1), noise * wobble(2)]
        })
        .collect();
    (values, labels)
}

fn task<'a>(values: &'a [f32], labels: &'a [u32], all: &'a [usize]) -> Task<'a> {
    Task {
        rows: Rows::new(values, 2).unwrap(),
        metric: Metric::L2,
        labels,
        families: None,
        queries: all,
        gallery: all,
        zero_shot: true,
    }
}

#[test]
fn memory_and_threads_change_nothing() {
    let (values, labels) = blurred(3.0);
    let all: Vec<usize> = (0..labels.len()).collect();
    let task = task(&values, &labels, &all);
    let options = |memory| Options { memory, ..Options::default() };
    let want = run(&task, &options(1 << 24), 2).unwrap();
    assert_eq!(want, run(&task, &options(1 << 24), 1).unwrap());
    assert_eq!(want, run(&task, &options(8 << 10), 2).unwrap());
    let refused = run(&task, &options(1 << 10), 2).unwrap_err();
    let EvalError::Memory { need, given: 1024, threads: 2 } = refused else { panic!("{refused}") };
    assert_eq!(want, run(&task, &options(need), 2).unwrap());
    assert!(run(&task, &options(need - 2), 2).is_err());
}

#[test]
fn a_difference_is_paired_and_signed() {
    let (sharp, labels) = blurred(0.5);
    let (dull, _) = blurred(6.0);
    let all: Vec<usize> = (0..labels.len()).collect();
    let options = Options { clusterings: 0, ..Options::default() };
    let ours = run(&task(&sharp, &labels, &all), &options, 1).unwrap();
    let theirs = run(&task(&dull, &labels, &all), &options, 1).unwrap();
    let gain = difference(&ours, &theirs, Score::Recall(1)).unwrap();
    let by_hand = ours.recall_at(1).unwrap().value - theirs.recall_at(1).unwrap().value;
    assert!((gain.value - by_hand).abs() < 1e-12 && gain.low > 0.0, "{gain:?}");
    let map = difference(&ours, &theirs, Score::MapAtR).unwrap();
    assert!((map.value - (ours.map_at_r.value - theirs.map_at_r.value)).abs() < 1e-12);
    let loss = difference(&theirs, &ours, Score::Recall(1)).unwrap();
    assert!((loss.value + gain.value).abs() < 1e-12 && loss.high < 0.0);
    assert_eq!(
        difference(&ours, &ours, Score::Recall(1)).unwrap(),
        Estimate { value: 0.0, low: 0.0, high: 0.0 }
    );
    let fewer = Task { queries: &all[..50], ..task(&sharp, &labels, &all) };
    let fewer = run(&fewer, &options, 1).unwrap();
    assert!(matches!(difference(&ours, &fewer, Score::MapAtR), Err(EvalError::NotComparable { .. })));
}

#[test]
fn failures_come_worst_first() {
    let (values, labels) = blurred(6.0);
    let all: Vec<usize> = (0..labels.len()).collect();
    let got = run(&task(&values, &labels, &all), &Options::default(), 1).unwrap();
    let failures = worst_failures(&got, 10);
    assert_eq!(failures.len(), 10);
    assert!(failures.windows(2).all(|pair| pair[0].first_right >= pair[1].first_right));
    let worst = got.per_query.iter().map(|outcome| outcome.first_right).max();
    assert_eq!(Some(failures[0].first_right), worst);
}

#[test]
fn tight_classes_have_full_mutual_information() {
    let (values, labels) = blurred(0.01);
    let all: Vec<usize> = (0..labels.len()).collect();
    let got = run(&task(&values, &labels, &all), &Options::default(), 2).unwrap();
    assert_eq!(got.recall_at(1).unwrap(), Estimate { value: 1.0, low: 1.0, high: 1.0 });
    let nmi = got.nmi.unwrap();
    assert!(nmi.value > 0.9 && nmi.low <= nmi.value && nmi.value <= nmi.high, "{nmi:?}");
    assert_eq!(got.to_json()["nmi"]["value"], nmi.value);
    assert_eq!(got.to_json()["protocol"], "zero-shot/self-excluded/v1");
}

#[test]
fn ties_count_only_where_they_can_decide() {
    // On a line, by distance from row 0: right at 1, wrong at 2 and 2, right at 3; one cut at 1, R = 2.
    let values = [0.0, 1.0, 2.0, -2.0, 3.0];
    let all = [0, 1, 2, 3, 4];
    let options = Options { clusterings: 0, recall_at: vec![1], ..Options::default() };
    let ties = |labels: &[u32]| {
        let task =
            Task { rows: Rows::new(&values, 1).unwrap(), queries: &all[..1], ..task(&[], labels, &all) };
        run(&task, &options, 1).unwrap().ties
    };
    assert_eq!(ties(&[0, 0, 1, 1, 0]), 0, "both equals are wrong");
    assert_eq!(ties(&[0, 0, 0, 1, 1]), 1, "place 2 of 2 goes to one of a right and a wrong picture");
    assert_eq!(ties(&[0, 0, 1, 1, 1]), 0, "R is 1 and place 1 is clear");
    assert_eq!(ties(&[0, 1, 0, 1, 1]), 0, "the equals stand after place 1");
}

#[test]
fn hostile_tasks_are_refused_in_words() {
    let (values, labels) = blurred(1.0);
    let all: Vec<usize> = (0..labels.len()).collect();
    let good = task(&values, &labels, &all);
    let refused = |task: Task<'_>, options: &Options| run(&task, options, 1).unwrap_err().to_string();
    let options = Options::default();
    assert_eq!(
        refused(Task { labels: &labels[1..], ..good }, &options),
        "107 labels for 108 pictures; give one for each"
    );
    assert!(refused(Task { families: Some(&[1]), ..good }, &options).starts_with("1 families"));
    assert!(refused(Task { gallery: &[108], ..good }, &options).contains("row 108"));
    assert!(refused(Task { queries: &[3, 3], ..good }, &options).contains("row 3 twice"));
    assert!(refused(Task { gallery: &[], ..good }, &options).starts_with("none of 108 queries"));
    assert!(refused(Task { queries: &[], ..good }, &options).starts_with("none of 0 queries"));
    let same = vec![5; labels.len()];
    assert!(refused(Task { families: Some(&same), ..good }, &options).starts_with("none of 108"));
    for cuts in [vec![], vec![0, 1]] {
        assert_eq!(run(&good, &Options { recall_at: cuts, ..Options::default() }, 1), Err(EvalError::Cuts));
    }
    let mut broken = values.clone();
    broken[21] = f32::NAN;
    assert_eq!(run(&task(&broken, &labels, &all), &options, 1), Err(EvalError::NotFinite { row: 10 }));
    assert_eq!(
        neighbours(&good, 500, 3).unwrap_err(),
        EvalError::NoRow { what: "queries", row: 500, pictures: 108 }
    );
}
