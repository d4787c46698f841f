//! From marks to `report.html` and the page's map.

use crate::context::{Context, Source, write_file};
use crate::failure::{Code, Failure, Outcome};
use crate::measure::Measured;
use crate::pipeline::Marks;
use crate::run_folder::{RunFacts, RunFolder, hardware};
use data::{DataReport, Dataset, Image};
use eval::plots::{Curves, Series};
use eval::report::{
    Answered, Check, Contender, IndexFacts, MapPoint, Pictures, Report, Reproduction, Role, TrainingFacts,
};
use eval::{TsneOptions, tsne};
use image::{ExtendedColorType, ImageEncoder};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Pictures on the map; more would hide each other.
const MOST_POINTS: usize = 3000;
/// Longest side of a thumbnail, pixels.
const THUMB: u32 = 96;
/// Queries in the montage, and failures below it.
const SHOWN: usize = 12;
/// Answers of each.
const ANSWERS: usize = 8;

/// What this run was asked for.
pub fn facts(context: &Context, source: &Source, data_hash: &str) -> RunFacts {
    let mut words = std::env::args();
    let program = words.next().map(std::path::PathBuf::from);
    let program = program
        .as_deref()
        .and_then(|p| p.file_name())
        .map_or("deepembed".into(), |n| n.to_string_lossy().into_owned());
    RunFacts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        data: source.to_string(),
        data_hash: data_hash.to_owned(),
        seed: context.seed,
        threads: rayon::current_num_threads(),
        command: std::iter::once(program).chain(words).collect::<Vec<_>>().join(" "),
        hardware: hardware(),
    }
}

/// Writes the report and the map.
pub fn write(
    context: &Context,
    dataset: &Dataset,
    checked: &DataReport,
    marks: &Marks,
    index: Option<IndexFacts>,
    folder: &RunFolder,
    facts: &RunFacts,
) -> Outcome {
    let map = draw_map(context, marks)?;
    let places: Vec<Value> = map
        .iter()
        .map(|point| json!([marks.exam.items[point.row], point.place[0], point.place[1]]))
        .collect();
    write_file(&folder.map(), Value::Array(places).to_string().as_bytes())?;
    let named = [
        (Role::Trained, "trained", &marks.trained),
        (Role::Starter, "starter, not trained", &marks.starter),
        (Role::Untrained, "random weights", &marks.untrained),
        (Role::Pixels, "16 x 16 grey pixels", &marks.pixels),
    ];
    let contenders = named
        .iter()
        .map(|(role, name, measured)| Contender {
            role: *role,
            name: (*name).to_owned(),
            retrieval: &measured.retrieval,
        })
        .collect();
    let report = Report {
        title: dataset.name.clone(),
        facts: counts(checked),
        checks: checks(checked),
        contenders,
        curves: curves(folder),
        index,
        training: training(folder),
        map,
        montage: montage(context, marks)?,
        failures: failures(marks)?,
        reproduction: reproduction(facts, folder),
    };
    let items = &marks.exam.items;
    let html = report
        .html(Pictures {
            thumb: &|row| thumb(dataset, items[row]),
            class: &|row| dataset.class(items[row]).to_owned(),
        })
        .map_err(|error| Failure::new(Code::Failed, error))?;
    write_file(&folder.report(), html.as_bytes())
}

fn draw_map(context: &Context, marks: &Marks) -> Outcome<Vec<MapPoint>> {
    let rows = marks.trained.rows();
    let step = rows.len().div_ceil(MOST_POINTS).max(1);
    let chosen: Vec<usize> = (0..rows.len()).step_by(step).collect();
    let vectors: Vec<f32> = chosen.iter().flat_map(|&row| rows.row(row)).copied().collect();
    let rows = data::Rows::new(&vectors, marks.trained.dim).expect("whole rows");
    let options = TsneOptions { seed: context.seed, ..TsneOptions::default() };
    let bar = context.talk.bar("drawing the map", options.iterations);
    let places = tsne(rows, &options, &mut |done, all| bar.set(done, all, ""));
    let places = places.map_err(|error| Failure::new(Code::Failed, error))?;
    bar.finish(&format!("{} pictures", chosen.len()));
    Ok(chosen
        .iter()
        .zip(places)
        .map(|(&row, place)| MapPoint { row, label: marks.exam.labels[row], place })
        .collect())
}

fn counts(checked: &DataReport) -> Vec<(String, String)> {
    let mut facts = vec![
        ("pictures".to_owned(), checked.pictures.to_string()),
        ("classes".to_owned(), checked.classes.len().to_string()),
    ];
    for split in &checked.splits {
        facts.push((
            split.split.name().to_owned(),
            format!("{} pictures of {} classes", split.pictures, split.classes),
        ));
    }
    if !checked.cameras.is_empty() {
        facts.push(("sources".to_owned(), checked.cameras.keys().cloned().collect::<Vec<_>>().join(", ")));
    }
    facts
}

fn checks(checked: &DataReport) -> Vec<Check> {
    let line = |passed, words: String| Check { passed, words };
    let mut checks = vec![
        line(checked.unreadable.is_empty(), format!("{} pictures cannot be read", checked.unreadable.len())),
        line(
            checked.leaks().is_empty(),
            format!("{} classes or pictures are in two splits", checked.leaks().len()),
        ),
        line(true, format!("{} groups of identical files, all within one split", checked.duplicates.len())),
    ];
    let warnings = checked.warnings();
    const SHOWN_WARNINGS: usize = 6;
    checks.extend(warnings.iter().take(SHOWN_WARNINGS).map(|warning| line(false, warning.clone())));
    if warnings.len() > SHOWN_WARNINGS {
        checks.push(line(false, format!("and {} more notes of this kind", warnings.len() - SHOWN_WARNINGS)));
    }
    checks
}

fn curves(folder: &RunFolder) -> Curves {
    let log = folder.read_log();
    let curve = |key: &str| -> Vec<(f64, f64)> {
        let point = |line: &Value| Some((line.get("step")?.as_f64()?, line.get(key)?.as_f64()?));
        log.iter().filter_map(point).collect()
    };
    let validation = vec![Series { name: "recall@1".to_owned(), points: curve("validation_recall@1") }];
    Curves { loss: curve("loss"), validation }
}

fn training(folder: &RunFolder) -> Option<TrainingFacts> {
    let metrics = folder.read_metrics()?;
    let training = metrics.get("train")?;
    Some(TrainingFacts {
        images_per_second: training.get("images_per_second")?.as_f64()?,
        seconds: training.get("seconds")?.as_f64()?,
        peak_memory: training.get("peak_rss_bytes").and_then(Value::as_u64).unwrap_or(0),
    })
}

fn answered(marks: &Marks, query: usize, note: String) -> Outcome<Answered> {
    let Measured { metric, .. } = marks.trained;
    let task = marks.exam.task(marks.trained.rows(), metric);
    Ok(Answered { query, neighbours: eval::neighbours(&task, query, ANSWERS)?, note })
}

/// Queries of different classes, drawn by the seed: nobody picks them.
fn montage(context: &Context, marks: &Marks) -> Outcome<Vec<Answered>> {
    let mut by_class: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for outcome in &marks.trained.retrieval.per_query {
        by_class.entry(outcome.label).or_default().push(outcome.query);
    }
    let draw = |class: u32| *blake3::hash(format!("{} {class}", context.seed).as_bytes()).as_bytes();
    let mut drawn: Vec<([u8; 32], &Vec<usize>)> =
        by_class.iter().map(|(&class, queries)| (draw(class), queries)).collect();
    drawn.sort_unstable();
    let query = |(hash, queries): &([u8; 32], &Vec<usize>)| queries[usize::from(hash[0]) % queries.len()];
    drawn.iter().take(SHOWN).map(|drawn| answered(marks, query(drawn), String::new())).collect()
}

fn failures(marks: &Marks) -> Outcome<Vec<Answered>> {
    eval::worst_failures(&marks.trained.retrieval, SHOWN)
        .into_iter()
        .map(|outcome| {
            answered(marks, outcome.query, format!("first right answer at place {}", outcome.first_right))
        })
        .collect()
}

fn reproduction(facts: &RunFacts, folder: &RunFolder) -> Reproduction {
    let hash = std::fs::read(folder.model())
        .map(|bytes| blake3::hash(&bytes).to_hex().to_string())
        .unwrap_or_default();
    Reproduction {
        command: facts.command.clone(),
        seed: facts.seed,
        versions: vec![
            ("deepembed".to_owned(), facts.version.clone()),
            ("data".to_owned(), facts.data_hash.clone()),
            ("model".to_owned(), hash),
        ],
        hardware: format!("{}, {} threads", facts.hardware, facts.threads),
    }
}

/// A small PNG of a picture.
fn thumb(dataset: &Dataset, item: usize) -> Vec<u8> {
    // Every picture was decoded before; one that vanished since becomes a grey square.
    let image = dataset.image(item).unwrap_or_else(|_| Image { width: 1, height: 1, pixels: vec![128; 3] });
    let longest = image.width.max(image.height);
    let image = if longest > THUMB {
        let side = |length: u32| (u64::from(length) * u64::from(THUMB) / u64::from(longest)).max(1) as u32;
        data::resize(&image, side(image.width), side(image.height), data::Filter::Bilinear)
    } else {
        image
    };
    let mut png = Vec::new();
    image::codecs::png::PngEncoder::new(&mut png)
        .write_image(&image.pixels, image.width, image.height, ExtendedColorType::Rgb8)
        .expect("a picture in memory encodes");
    png
}
