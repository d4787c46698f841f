//! Writes a report about invented pictures: `report [file] [pictures]`.
//!
//! Each class is a shape in a colour; four invented models see it through more and more noise. It shows
//! what the page looks like without training anything.
#![allow(clippy::print_stdout)]

use data::{Metric, Rows};
use deepembed_eval::plots::{Curves, Series};
use deepembed_eval::report::{
    Answered, Check, Contender, IndexFacts, MapPoint, Pictures, Report, Reproduction, Role, TrainingFacts,
};
use deepembed_eval::{Options, Retrieval, Task, TsneOptions, neighbours, retrieval, tsne, worst_failures};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::io::Cursor;

const DIM: usize = 32;
const EACH: usize = 18;
const COLOURS: [(&str, [u8; 3]); 8] = [
    ("crimson", [200, 40, 60]),
    ("amber", [235, 165, 30]),
    ("moss", [90, 140, 50]),
    ("teal", [20, 140, 140]),
    ("azure", [40, 120, 220]),
    ("violet", [130, 70, 190]),
    ("rose", [235, 120, 160]),
    ("slate", [80, 90, 105]),
];
const SHAPES: [&str; 5] = ["disc", "square", "ring", "bars", "diamond"];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().unwrap_or_else(|| "report.html".to_owned());
    let pictures: usize = arguments.next().map_or(1872, |word| word.parse().expect("a number of pictures"));
    let labels: Vec<u32> = (0..pictures).map(|i| (i / EACH) as u32).collect();
    let all: Vec<usize> = (0..pictures).collect();
    let models = [
        (Role::Trained, "trained", 0.62),
        (Role::Starter, "starter", 0.95),
        (Role::Untrained, "untrained", 2.2),
        (Role::Pixels, "raw pixels", 1.7),
    ];
    let embedded = models.map(|(_, _, noise)| embed(&labels, noise));
    fn task<'a>(values: &'a [f32], labels: &'a [u32], all: &'a [usize]) -> Task<'a> {
        Task {
            rows: Rows::new(values, DIM).expect("whole rows"),
            metric: Metric::Dot,
            labels,
            families: None,
            queries: all,
            gallery: all,
            zero_shot: true,
        }
    }
    let measured: Vec<Retrieval> = embedded
        .iter()
        .map(|values| {
            retrieval(&task(values, &labels, &all), &Options::default(), &|_, _| ()).expect("a sound task")
        })
        .collect();
    let trained = task(&embedded[0], &labels, &all);
    let answered = |query, note| Answered {
        query,
        neighbours: neighbours(&trained, query, 8).expect("a sound task"),
        note,
    };
    let places = tsne(trained.rows, &TsneOptions::default(), &mut |_, _| ()).expect("finite rows");
    let report = Report {
        title: "Shapes & colours".to_owned(),
        facts: facts(pictures),
        checks: checks(),
        contenders: models
            .iter()
            .zip(&measured)
            .map(|((role, name, _), retrieval)| Contender {
                role: *role,
                name: (*name).to_owned(),
                retrieval,
            })
            .collect(),
        curves: curves(),
        index: Some(IndexFacts {
            spec: "IVF64(Graph16),PQ16x4,Rerank(F32)".to_owned(),
            recall_at_10: 0.983,
            queries_per_second: 12_840.0,
        }),
        training: Some(TrainingFacts {
            images_per_second: 212.4,
            seconds: 754.0,
            peak_memory: 1_240_000_000,
        }),
        map: (0..pictures).map(|row| MapPoint { row, label: labels[row], place: places[row] }).collect(),
        montage: (0..pictures).step_by(pictures / 8).map(|query| answered(query, String::new())).collect(),
        failures: worst_failures(&measured[0], 8)
            .iter()
            .map(|failure| {
                let note =
                    format!("First right answer at place {} of {}.", failure.first_right, pictures - 1);
                answered(failure.query, note)
            })
            .collect(),
        reproduction: Reproduction {
            command: "deepembed train metric -c recipes/margin.toml -o data.root=shapes -o seed=7".to_owned(),
            seed: 7,
            versions: vec![
                ("deepembed".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
                ("data".to_owned(), "b3:4f1c9d0e77a2c6b1".to_owned()),
            ],
            hardware: "2 cores, 24 GB, no accelerator".to_owned(),
        },
    };
    let thumb = |row: usize| draw(row, labels[row]);
    let class = |row: usize| name(labels[row]);
    let html = report.html(Pictures { thumb: &thumb, class: &class }).expect("good thumbnails");
    std::fs::write(&file, &html).expect("a writable file");
    println!("{file}: {} kB", html.len() / 1000);
}

fn name(label: u32) -> String {
    let (colour, shape) = (COLOURS[label as usize % 8].0, SHAPES[label as usize / 8 % 5]);
    format!("{colour} {shape} {}", label / 40 + 1)
}

/// A direction a class, blurred; colours and shapes share part of theirs.
fn embed(labels: &[u32], noise: f32) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut direction = || -> Vec<f32> { (0..DIM).map(|_| rng.random_range(-1.0..1.0)).collect() };
    let colours: Vec<_> = (0..8).map(|_| direction()).collect();
    let classes: Vec<_> = (0..=labels[labels.len() - 1]).map(|_| direction()).collect();
    let mut rows = Vec::new();
    for &label in labels {
        let (class, colour) = (&classes[label as usize], &colours[label as usize % 8]);
        let row: Vec<f32> = (0..DIM)
            .map(|d| 0.6 * class[d] + 0.6 * colour[d] + noise * rng.random_range(-1.0..1.0))
            .collect();
        let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        rows.extend(row.iter().map(|value| value / length));
    }
    rows
}

fn draw(row: usize, label: u32) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(row as u64);
    let mut jitter = |size: f32| rng.random_range(-size..size);
    let (cx, cy, size, light) = (48.0 + jitter(8.0), 48.0 + jitter(8.0), 27.0 + jitter(7.0), jitter(30.0));
    let colour =
        COLOURS[label as usize % 8].1.map(|value| (f32::from(value) + light).clamp(0.0, 255.0) as u8);
    let ground = 226.0 + jitter(25.0);
    let picture = image::RgbImage::from_fn(96, 96, |x, y| {
        let (dx, dy) = (x as f32 - cx, y as f32 - cy);
        let inside = match label / 8 % 5 {
            0 => dx.hypot(dy) < size,
            1 => dx.abs().max(dy.abs()) < size * 0.9,
            2 => dx.hypot(dy) < size && dx.hypot(dy) > size * 0.55,
            3 => dx.abs().max(dy.abs()) < size && (dx / 9.0).floor() as i32 % 2 == 0,
            _ => dx.abs() + dy.abs() < size * 1.2,
        };
        image::Rgb(if inside { colour } else { [(ground + dx / 4.0).clamp(0.0, 255.0) as u8; 3] })
    });
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).expect("memory to write to");
    bytes.into_inner()
}

fn facts(pictures: usize) -> Vec<(String, String)> {
    [
        ("test pictures", pictures.to_string()),
        ("test classes", pictures.div_ceil(EACH).to_string()),
        ("training pictures", "5 616".to_owned()),
        ("training classes", "312".to_owned()),
    ]
    .map(|(what, value)| (what.to_owned(), value))
    .to_vec()
}

fn checks() -> Vec<Check> {
    [
        (true, "No class is on both sides of the split (312 and 104 classes)."),
        (true, "No picture is on both sides of the split, by content hash."),
        (false, "3 pairs of near-duplicates within the test set: img/0412.png and img/0413.png, and 2 more."),
        (true, "Every picture could be decoded; the smallest is 96 x 96."),
    ]
    .map(|(passed, words)| Check { passed, words: words.to_owned() })
    .to_vec()
}

fn curves() -> Curves {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut curve = |points: usize, span: f64, from: f64, to: f64, noise: f64| -> Vec<(f64, f64)> {
        (0..points)
            .map(|i| {
                let x = i as f64 * span / (points - 1) as f64;
                let fade = (-3.5 * x / span).exp();
                (x, to + (from - to) * fade + rng.random_range(-noise..noise))
            })
            .collect()
    };
    Curves {
        loss: curve(150, 3000.0, 0.42, 0.08, 0.012),
        validation: vec![
            Series { name: "recall@1".to_owned(), points: curve(13, 3000.0, 0.61, 0.84, 0.008) },
            Series { name: "MAP@R".to_owned(), points: curve(13, 3000.0, 0.32, 0.55, 0.006) },
        ],
    }
}
