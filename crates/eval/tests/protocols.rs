//! The protocols agree with scikit-learn, with arrays sorted as the reference scripts sort them, and with
//! plain loops over the definitions; `golden/protocols.py` wrote the files.

use data::{Metric, Rows};
use deepembed_eval::protocols::in_shop::{InShopTask, in_shop};
use deepembed_eval::protocols::person_search::{Detection, Probe, SearchTask, Shown, person_search};
use deepembed_eval::protocols::re_id::{ReIdTask, re_id};
use deepembed_eval::protocols::street_to_shop::{StreetTask, street_to_shop};
use deepembed_eval::protocols::tracklets::{Pooling, TrackletTask, Variant, tracklets};
use deepembed_eval::protocols::vehicle_id::{Draw, VehicleTask, drawn, vehicle_id};
use deepembed_eval::protocols::verification::{Pair, Thresholds, VerificationOptions, verification};
use deepembed_eval::protocols::{Precision, ProtocolError, RankedScores, RankingOptions};
use deepembed_eval::{EvalError, ami, pair_f1};
use proptest::prelude::*;
use serde_json::Value;

fn cases(name: &str) -> Vec<Value> {
    let path = format!("{}/../../golden/protocols/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let file: Value = serde_json::from_str(&text).unwrap();
    file["cases"].as_array().unwrap().clone()
}

fn numbers<T>(value: &Value, convert: impl Fn(f64) -> T) -> Vec<T> {
    value.as_array().unwrap().iter().map(|number| convert(number.as_f64().unwrap())).collect()
}

fn close(got: f64, want: &Value, what: &str) {
    let want = want.as_f64().unwrap();
    assert!((got - want).abs() < 1e-9, "{what} is {got}, not {want}");
}

#[test]
fn clusters_are_judged_as_by_scikit_learn() {
    let cases = cases("clustering");
    assert_eq!(cases.len(), 21);
    for case in cases {
        let classes = numbers(&case["classes"], |class| class as u32);
        let clusters = numbers(&case["clusters"], |cluster| cluster as u32);
        close(ami(&classes, &clusters), &case["want"]["ami"], "AMI");
        close(pair_f1(&classes, &clusters), &case["want"]["pair_f1"], "F1");
    }
}

#[test]
fn re_identification_is_that_of_the_scripts() {
    let cases = cases("re_id");
    assert_eq!(cases.len(), 3);
    for case in cases {
        let rows = numbers(&case["rows"], |value| value as f32);
        let ids = numbers(&case["ids"], |id| id as i32);
        let cameras = numbers(&case["cameras"], |camera| Some(camera as u32));
        let (queries, gallery) =
            (numbers(&case["queries"], |i| i as usize), numbers(&case["gallery"], |i| i as usize));
        let measure = |precision| {
            let task = ReIdTask {
                rows: Rows::new(&rows, 2).unwrap(),
                metric: Metric::L2,
                ids: &ids,
                cameras: &cameras,
                queries: &queries,
                gallery: &gallery,
                precision,
            };
            re_id(&task, &RankingOptions { resamples: 20, ..RankingOptions::default() }).unwrap()
        };
        let want = &case["want"];
        let got = measure(Precision::Standard);
        assert_eq!(got.queries as u64, want["queries"].as_u64().unwrap());
        assert!(got.dropped_queries > 0, "the golden set has lone queries");
        close(got.cmc_at(1).unwrap().value, &want["cmc@1"], "cmc@1");
        close(got.cmc_at(5).unwrap().value, &want["cmc@5"], "cmc@5");
        close(got.map.value, &want["map"], "map");
        close(measure(Precision::Trapezoid).map.value, &want["matlab_map"], "map by trapezoids");
    }
}

#[test]
fn accuracy_over_the_grid_is_that_of_the_script() {
    let cases = cases("verification");
    assert_eq!(cases.len(), 3);
    for case in cases {
        let distances = numbers(&case["distances"], |distance| distance as f32);
        let folds = numbers(&case["folds"], |fold| fold as usize);
        let genuine = case["genuine"].as_array().unwrap().iter().map(|same| same.as_bool().unwrap());
        let pairs: Vec<Pair> = distances
            .into_iter()
            .zip(genuine)
            .zip(folds)
            .map(|((distance, genuine), fold)| Pair { distance, genuine, fold })
            .collect();
        let options = VerificationOptions { thresholds: Thresholds::Grid, ..VerificationOptions::default() };
        let got = verification(&pairs, &options).unwrap();
        for (got, want) in got.folds.iter().zip(case["want"]["folds"].as_array().unwrap()) {
            close(*got, want, "accuracy of a fold");
        }
        let tar = got.at_rates[1];
        assert!(tar.accepted.low <= tar.accepted.value && tar.accepted.value <= tar.accepted.high);
    }
}

#[test]
fn person_search_is_that_of_the_script() {
    let cases = cases("person_search");
    assert_eq!(cases.len(), 2);
    for case in cases {
        let rows = numbers(&case["rows"], |value| value as f32);
        let corners =
            |value: &Value| -> [f32; 4] { numbers(value, |corner| corner as f32).try_into().unwrap() };
        let scores = numbers(&case["scores"], |score| score as f32);
        let boxes = case["boxes"].as_array().unwrap().iter();
        let detections: Vec<Detection> =
            boxes.zip(scores).map(|(at, score)| Detection { corners: corners(at), score }).collect();
        let shown = |shown: &Value| Shown {
            frame: shown[0].as_u64().unwrap() as usize,
            truth: (!shown[1].is_null()).then(|| corners(&shown[1])),
        };
        let probe = |probe: &Value| Probe {
            person: probe["person"].as_i64().unwrap() as i32,
            frame: 0,
            gallery: probe["gallery"].as_array().unwrap().iter().map(shown).collect(),
        };
        let probes: Vec<Probe> = case["probes"].as_array().unwrap().iter().map(probe).collect();
        let asked = case["probes"].as_array().unwrap().iter();
        let probe_rows: Vec<f32> =
            asked.flat_map(|probe| numbers(&probe["row"], |value| value as f32)).collect();
        let task = SearchTask {
            probe_rows: Rows::new(&probe_rows, 2).unwrap(),
            probes: &probes,
            rows: Rows::new(&rows, 2).unwrap(),
            detections: &detections,
            ends: &numbers(&case["ends"], |end| end as usize),
            threshold: 0.5,
        };
        let got = person_search(&task, &RankingOptions::default()).unwrap();
        close(got.map.value, &case["want"]["map"], "map");
        close(got.cmc_at(1).unwrap().value, &case["want"]["cmc@1"], "cmc@1");
        assert_eq!(got.dropped_queries as u64, case["want"]["dropped_queries"].as_u64().unwrap());
    }
}

/// Per query: first right place, average precision, trapezoids; none when dropped.
fn naive(task: &ReIdTask<'_>, query: usize) -> Option<(usize, f64, f64)> {
    let distance = |other: usize| -> f32 {
        task.rows.row(query).iter().zip(task.rows.row(other)).map(|(a, b)| (a - b) * (a - b)).sum()
    };
    let same_id = |row: usize| task.ids[row] == task.ids[query];
    let mut ranked: Vec<usize> = task
        .gallery
        .iter()
        .copied()
        .filter(|&row| task.ids[row] != -1 && !(same_id(row) && task.cameras[row] == task.cameras[query]))
        .collect();
    ranked.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)).then(a.cmp(&b)));
    let right: Vec<bool> = ranked.iter().map(|&row| same_id(row)).collect();
    let total = right.iter().filter(|right| **right).count() as f64;
    let first = right.iter().position(|right| *right)? + 1;
    let (mut hits, mut before, mut standard, mut trapezoid) = (0.0, 1.0, 0.0, 0.0);
    for (place, &right) in right.iter().enumerate() {
        hits += f64::from(u8::from(right));
        let precision = hits / (place + 1) as f64;
        if right {
            standard += precision / total;
            trapezoid += (before + precision) / 2.0 / total;
        }
        before = precision;
    }
    Some((first, standard, trapezoid))
}

proptest! {
    #[test]
    fn re_identification_agrees_with_slow_loops(
        pictures in prop::collection::vec(((-4i8..5, -4i8..5), -1i32..5, 0u32..3, any::<bool>()), 2..70),
        threads in 1usize..3, trapezoid: bool, memory in 1usize..4,
    ) {
        let values: Vec<f32> = pictures.iter().flat_map(|((x, y), ..)| [f32::from(*x), f32::from(*y)]).collect();
        let ids: Vec<i32> = pictures.iter().map(|(_, id, ..)| *id).collect();
        let cameras: Vec<Option<u32>> = pictures.iter().map(|(_, _, camera, _)| Some(*camera)).collect();
        let asks = |i: &usize| pictures[*i].3 && ids[*i] > 0;
        let (queries, gallery): (Vec<usize>, Vec<usize>) = (0..ids.len()).rev().partition(asks);
        let task = ReIdTask {
            rows: Rows::new(&values, 2).unwrap(),
            metric: Metric::L2,
            ids: &ids,
            cameras: &cameras,
            queries: &queries,
            gallery: &gallery,
            precision: if trapezoid { Precision::Trapezoid } else { Precision::Standard },
        };
        let want: Vec<_> = queries.iter().filter_map(|&query| naive(&task, query)).collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let options = RankingOptions { memory: memory << 14, resamples: 10, ..RankingOptions::default() };
        let got: RankedScores = match pool.install(|| re_id(&task, &options)) {
            Err(ProtocolError::NoQueries { .. } | ProtocolError::EmptyGallery) => {
                prop_assert!(want.is_empty());
                return Ok(());
            }
            got => got.unwrap(),
        };
        prop_assert_eq!(got.queries, want.len());
        prop_assert_eq!(got.queries + got.dropped_queries, queries.len());
        for (score, (first, standard, trapezoids)) in got.per_query.iter().zip(&want) {
            prop_assert_eq!(score.first_right, *first);
            let average = if trapezoid { trapezoids } else { standard };
            prop_assert!((score.average_precision - average).abs() < 1e-12);
        }
    }

    #[test]
    fn shops_and_draws_agree_with_slow_loops(
        pictures in prop::collection::vec((-9i8..10, 0i32..6, 0u32..3, any::<bool>()), 2..60), seed in 0u64..9,
    ) {
        let values: Vec<f32> = pictures.iter().map(|(value, ..)| f32::from(*value)).collect();
        let rows = Rows::new(&values, 1).unwrap();
        let items: Vec<i32> = pictures.iter().map(|(_, item, ..)| *item).collect();
        let categories: Vec<u32> = pictures.iter().map(|(_, _, category, _)| *category).collect();
        let (queries, gallery): (Vec<usize>, Vec<usize>) = (0..items.len()).partition(|&i| pictures[i].3);
        let options = RankingOptions { seed, resamples: 10, cuts: vec![1, 3], ..RankingOptions::default() };
        let metric = Metric::L2;
        // First right place of each query that has one, by sorting.
        let places = |queries: &[usize], gallery: &[usize], among: &dyn Fn(usize, usize) -> bool| {
            let place = |&query: &usize| {
                let mut ranked: Vec<usize> = gallery.iter().copied().filter(|&row| among(query, row)).collect();
                ranked.sort_by_key(|&row| ((values[row] - values[query]).abs() as i32, row));
                ranked.iter().position(|&row| items[row] == items[query]).map(|place| (query, place + 1))
            };
            queries.iter().filter_map(place).collect::<Vec<_>>()
        };
        let found = |scores: &RankedScores| -> Vec<(usize, usize)> {
            scores.per_query.iter().map(|score| (score.query, score.first_right)).collect()
        };

        let want = places(&queries, &gallery, &|_, _| true);
        let task = InShopTask { rows, metric, items: &items, queries: &queries, gallery: &gallery };
        match in_shop(&task, &options) {
            Ok(got) => prop_assert_eq!(found(&got), want),
            Err(_) => prop_assert!(want.is_empty()),
        }

        let mut want = places(&queries, &gallery, &|query, row| categories[query] == categories[row]);
        want.sort_by_key(|&(query, _)| (categories[query], query));
        let task = StreetTask {
            rows, metric, products: &items, categories: &categories, queries: &queries, gallery: &gallery,
        };
        match street_to_shop(&task, &options) {
            Ok(got) => {
                prop_assert_eq!(found(&got.micro), want);
                prop_assert_eq!(got.micro.queries + got.micro.dropped_queries, queries.len());
                let mean = got.categories.iter().map(|(_, scores)| scores.cmc[0].1.value).sum::<f64>();
                prop_assert!((got.macro_top[0].1.value - mean / got.categories.len() as f64).abs() < 1e-12);
            }
            Err(_) => prop_assert!(want.is_empty()),
        }

        let members: Vec<usize> = (0..items.len()).collect();
        let draw = if seed % 2 == 0 { Draw::OneInGallery } else { Draw::OneAsks };
        let task = VehicleTask { rows, metric, vehicles: &items, members: &members, draw, draws: 3 };
        let Ok(got) = vehicle_id(&task, &options) else { return Ok(()) };
        for (number, scores) in got.draws.iter().enumerate() {
            let (asking, answering) = drawn(&task, seed, number);
            prop_assert_eq!(asking.len() + answering.len(), members.len());
            prop_assert_eq!(found(scores), places(&asking, &answering, &|_, _| true));
        }
    }

    #[test]
    fn tracklets_are_ranked_as_their_variant_says(
        tracks in prop::collection::vec((0u8..40, -1i32..4, 0u32..3, any::<bool>()), 2..40), official: bool,
    ) {
        // One frame a tracklet: pooling leaves unit vectors as they are, and the gallery alone differs.
        let values: Vec<f32> =
            tracks.iter().flat_map(|(angle, ..)| [f32::from(*angle) / 20.0].map(|a| [a.cos(), a.sin()])).flatten().collect();
        let ranges: Vec<_> = (0..tracks.len()).map(|i| i..i + 1).collect();
        let ids: Vec<i32> = tracks.iter().map(|(_, id, ..)| *id).collect();
        let cameras: Vec<Option<u32>> = tracks.iter().map(|(_, _, camera, _)| Some(*camera)).collect();
        let queries: Vec<usize> = (0..ids.len()).filter(|&i| tracks[i].3 && ids[i] > 0).collect();
        let task = TrackletTask {
            frames: Rows::new(&values, 2).unwrap(),
            tracklets: &ranges,
            pooling: Pooling::Max,
            metric: Metric::L2,
            ids: &ids,
            cameras: &cameras,
            queries: &queries,
            variant: if official { Variant::Official } else { Variant::Torchreid },
        };
        let options = RankingOptions { resamples: 10, ..RankingOptions::default() };
        let in_gallery = |row: usize| official || !(queries.contains(&row) || ids[row] == -1);
        let relevant = |query: usize| {
            (0..ids.len())
                .filter(|&row| in_gallery(row) && ids[row] == ids[query] && cameras[row] != cameras[query])
                .count()
        };
        let want: Vec<(usize, usize)> =
            queries.iter().map(|&query| (query, relevant(query))).filter(|(_, count)| *count > 0).collect();
        match tracklets(&task, &options) {
            Err(ProtocolError::NoQueries { .. } | ProtocolError::EmptyGallery) => prop_assert!(want.is_empty()),
            got => {
                let got = got.unwrap();
                let counts: Vec<_> = got.per_query.iter().map(|score| (score.query, score.relevant)).collect();
                prop_assert_eq!(counts, want);
            }
        }
    }
}

#[test]
fn memory_and_threads_change_nothing_until_too_little_is_given() {
    let values: Vec<f32> = (0..4000).map(|i| (i * 7919 % 13) as f32).collect();
    let ids: Vec<i32> = (0..2000).map(|i| i / 2 + 1).collect();
    let cameras: Vec<Option<u32>> = (0..2000).map(|i| Some(i % 2)).collect();
    let (queries, gallery): (Vec<usize>, Vec<usize>) = (0..2000).partition(|i| i % 2 == 0);
    let task = ReIdTask {
        rows: Rows::new(&values, 2).unwrap(),
        metric: Metric::L2,
        ids: &ids,
        cameras: &cameras,
        queries: &queries,
        gallery: &gallery,
        precision: Precision::Standard,
    };
    let run = |threads, memory| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| re_id(&task, &RankingOptions { memory, ..RankingOptions::default() }))
    };
    assert_eq!(run(1, 1 << 26).unwrap(), run(2, 1 << 14).unwrap());
    let options = RankingOptions { memory: 2000, ..RankingOptions::default() };
    let refused = re_id(&task, &options);
    assert!(matches!(refused, Err(ProtocolError::Task(EvalError::Memory { .. }))), "{refused:?}");
}
