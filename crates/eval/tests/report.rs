//! The report as its readers meet it: true to the numbers, safe with hostile words, whole in one file.

use data::{Metric, Rows};
use deepembed_eval::plots::{Curves, Series};
use deepembed_eval::report::{
    Answered, Check, Contender, Effect, IndexFacts, MapPoint, Pictures, Report, ReportError, Reproduction,
    Role, TrainingFacts, verdict,
};
use deepembed_eval::{Neighbour, Options, Retrieval, Task, retrieval};
use std::io::Cursor;

const HOSTILE: &str = "</style></script><script>alert(1)</script>\"'><img src=x>&";

/// Twenty classes of five pictures on a line, blurred by `noise`.
fn measure(noise: f32, queries: usize) -> Retrieval {
    let labels: Vec<u32> = (0..100).map(|i| i / 5).collect();
    let wobble = |i: usize| (i * 7919 % 101) as f32 / 101.0 - 0.5;
    let values: Vec<f32> = labels.iter().enumerate().map(|(i, &l)| l as f32 + noise * wobble(i)).collect();
    let all: Vec<usize> = (0..100).collect();
    let task = Task {
        rows: Rows::new(&values, 1).unwrap(),
        metric: Metric::L2,
        labels: &labels,
        families: None,
        queries: &all[..queries],
        gallery: &all,
        zero_shot: true,
    };
    retrieval(&task, &Options { resamples: 400, ..Options::default() }, &|_, _| ()).unwrap()
}

fn contender(role: Role, retrieval: &Retrieval) -> Contender<'_> {
    Contender { role, name: format!("{role:?} {HOSTILE}"), retrieval }
}

#[test]
fn the_sentence_follows_the_intervals() {
    let (sharp, dull, noise) = (measure(0.5, 100), measure(6.0, 100), measure(40.0, 100));
    let effect = |ours, starter, untrained| {
        let contenders = [
            contender(Role::Trained, ours),
            contender(Role::Starter, starter),
            contender(Role::Untrained, untrained),
        ];
        verdict(&contenders)
    };
    let helped = effect(&sharp, &dull, &noise);
    assert_eq!(helped.effect, Effect::Helped);
    assert!(
        helped
            .sentence
            .starts_with("Training helped: the nearest picture is right for 100.0 % of queries, against")
    );
    assert!(helped.sentence.contains("for the model it started from (+") && helped.sentence.ends_with(")."));
    let level = effect(&sharp, &sharp, &noise);
    assert_eq!(level.effect, Effect::NoMeasurableDifference);
    assert!(level.sentence.starts_with("Training made no measurable difference: "), "{}", level.sentence);
    let hurt = effect(&dull, &sharp, &noise);
    assert_eq!(hurt.effect, Effect::Hurt);
    assert!(hurt.sentence.starts_with("Training hurt: ") && hurt.sentence.contains("(\u{2212}"));
    assert_eq!(verdict(&[]).effect, Effect::Unknown);
    let alone = [contender(Role::Trained, &sharp)];
    assert_eq!(verdict(&alone).effect, Effect::Unknown);
    let fewer = measure(6.0, 50);
    let apart = [contender(Role::Trained, &sharp), contender(Role::Starter, &fewer)];
    assert_eq!(verdict(&apart).effect, Effect::Unknown, "other queries are no baseline");
    assert_eq!(helped.warning, None);
    let easy =
        [contender(Role::Trained, &sharp), contender(Role::Starter, &dull), contender(Role::Pixels, &sharp)];
    assert!(verdict(&easy).warning.is_some_and(|words| words.contains("raw pixels")));
}

/// Noise, the hardest thing to compress.
fn noise(row: usize) -> Vec<u8> {
    let mut state = (row as u32).wrapping_mul(747_796_405) + 1;
    let picture = image::RgbImage::from_fn(96, 96, |_, _| {
        image::Rgb([0; 3].map(|_: u8| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }))
    });
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Bmp).unwrap();
    bytes.into_inner()
}

fn report<'a>(contenders: Vec<Contender<'a>>, pictures: usize, rows: usize) -> Report<'a> {
    let answer = |row| Neighbour { row, distance: 0.5, right: row % 2 == 0 };
    let answered = |i: usize| Answered {
        query: i * 9,
        neighbours: (1..9).map(|j| answer(i * 9 + j)).collect(),
        note: HOSTILE.to_owned(),
    };
    let pair = || (HOSTILE.to_owned(), HOSTILE.to_owned());
    Report {
        title: HOSTILE.to_owned(),
        facts: vec![pair()],
        checks: vec![Check { passed: false, words: HOSTILE.to_owned() }],
        contenders,
        curves: Curves {
            loss: vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 0.5)],
            validation: vec![Series { name: HOSTILE.to_owned(), points: vec![(0.0, 0.2)] }],
        },
        index: Some(IndexFacts { spec: HOSTILE.to_owned(), recall_at_10: 0.99, queries_per_second: 5000.0 }),
        training: Some(TrainingFacts { images_per_second: 20.0, seconds: 61.0, peak_memory: 1 << 30 }),
        map: (0..pictures)
            .map(|row| MapPoint {
                row,
                label: row as u32 % 50,
                place: [row as f32, (row * row % 997) as f32],
            })
            .collect(),
        montage: (0..rows).map(answered).collect(),
        failures: (0..rows).map(answered).collect(),
        reproduction: Reproduction {
            command: HOSTILE.to_owned(),
            seed: 3,
            versions: vec![pair()],
            hardware: HOSTILE.to_owned(),
        },
    }
}

fn write(report: &Report<'_>) -> Result<String, ReportError> {
    report.html(Pictures { thumb: &noise, class: &|_| HOSTILE.to_owned() })
}

#[test]
fn hostile_words_stay_words() {
    let (ours, theirs) = (measure(0.5, 100), measure(6.0, 100));
    let contenders = vec![contender(Role::Trained, &ours), contender(Role::Starter, &theirs)];
    let html = write(&report(contenders, 40, 2)).unwrap();
    assert!(!html.contains("alert(1)</script>") && !html.contains("<img"));
    assert_eq!(html.matches("<script>").count(), 1, "only ours");
    // Title and heading, a fact, a check, the index, notes, names, the command and the machine.
    assert!(html.matches("&lt;script&gt;alert(1)").count() > 20);
}

#[test]
fn everything_is_in_the_file_and_the_same_every_time() {
    let ours = measure(0.5, 100);
    let report = report(vec![contender(Role::Trained, &ours)], 30, 1);
    let html = write(&report).unwrap();
    for outside in ["src=", "http://", "https://", "@import", "<link"] {
        let found = html.replace("http://www.w3.org/2000/svg", "").replace("src=x", "");
        assert!(!found.contains(outside), "{outside}");
    }
    assert_eq!(html, write(&report).unwrap());
    for section in
        ["Results", "Training", "Index", "Map", "Worst failures", "Data check", "How it was measured"]
    {
        assert!(html.contains(&format!("<h2>{section}</h2>")), "{section}");
    }
    assert!(html.contains("zero-shot/self-excluded/v1") && html.contains("100.0"));
}

#[test]
fn a_large_test_set_stays_below_three_megabytes() {
    let ours = measure(0.5, 100);
    let html = write(&report(vec![contender(Role::Trained, &ours)], 1872, 16)).unwrap();
    assert!(html.len() < 3_000_000, "even of noise: {} bytes", html.len());
}

#[test]
fn empty_parts_are_left_out() {
    let empty = Report {
        title: "Nothing".to_owned(),
        facts: Vec::new(),
        checks: Vec::new(),
        contenders: Vec::new(),
        curves: Curves::default(),
        index: None,
        training: None,
        map: vec![MapPoint { row: 0, label: 0, place: [f32::NAN, 0.0] }],
        montage: Vec::new(),
        failures: Vec::new(),
        reproduction: Reproduction::default(),
    };
    let html = write(&empty).unwrap();
    assert_eq!(html.matches("<h2>").count(), 1, "only how to reproduce");
    assert!(!html.contains("<script>") && !html.contains("NaN"));
}

#[test]
fn a_broken_thumbnail_is_an_error() {
    let ours = measure(0.5, 100);
    let report = report(vec![contender(Role::Trained, &ours)], 5, 0);
    let error = report.html(Pictures { thumb: &|_| Vec::new(), class: &|_| String::new() }).unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
}
