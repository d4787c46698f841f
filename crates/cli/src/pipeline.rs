//! The steps that `train`, `demo` and `report` share, in their order.

use crate::context::{Context, Source, write_file};
use crate::failure::{Code, Failure, Outcome};
use crate::measure::{Exam, Measured};
use crate::run_folder::{RunFolder, peak_memory};
use crate::talk::Bar;
use crate::{payload, write_up};
use data::{DataReport, Dataset, Embed, Metric, PixelEmbed, Record, Rows, Split};
use eval::report::IndexFacts;
use index::{Effort, Index, MadeBy, Phase, Provenance, Request, Spec, Watch};
use neural::{Event, Model, Recipe, Session, Trained};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Answers per query in the index's own measure.
const INDEX_K: NonZeroUsize = NonZeroUsize::new(10).expect("ten is not zero");

/// Time for which single queries are timed.
const QUERY_TIME: Duration = Duration::from_millis(700);

/// Looks at every picture; leaks and unreadable pictures end the run.
pub fn check(context: &Context, dataset: &Dataset) -> Outcome<DataReport> {
    let bar = context.talk.bar("checking the data", dataset.len());
    let report = data::check(dataset, &|_, _| {});
    bar.finish(&format!("{} pictures of {} classes", report.pictures, report.classes.len()));
    for warning in report.warnings().iter().take(3) {
        context.talk.say(format!("  note: {warning}"));
    }
    sound(&report)?;
    Ok(report)
}

/// Whether nothing leaks and every picture can be read.
pub fn sound(report: &DataReport) -> Outcome {
    if let Some(first) = report.unreadable.first() {
        let text = format!(
            "{} pictures cannot be read, first {}: {}; remove or replace them (`data check` lists all)",
            report.unreadable.len(),
            first.path,
            first.reason
        );
        return Err(Failure::message(Code::Corrupt, text));
    }
    if let Some(first) = report.leaks().first() {
        let text = format!(
            "{} leaks between the splits, first: {first}; a measure over them would be void, so put each in one split (`data check` lists all)",
            report.leaks().len()
        );
        return Err(Failure::message(Code::Leak, text));
    }
    Ok(())
}

/// A model and what its training cost, as `metrics.json` keeps it.
pub struct Learned {
    pub model: Model,
    pub training: Value,
}

/// Trains, or takes the model that a run of the same recipe, data and seed left in the folder.
pub fn learn(
    context: &Context,
    dataset: &Dataset,
    recipe: &Recipe,
    folder: &RunFolder,
    data_hash: &str,
    resume: bool,
) -> Outcome<Learned> {
    if let Some(learned) = finished(recipe, folder, data_hash, context.seed) {
        context.talk.say(format!(
            "{:28} this folder holds the model of this very run; not trained again",
            "training"
        ));
        return Ok(learned);
    }
    if !resume {
        let _ = std::fs::remove_dir_all(folder.checkpoints());
    }
    let exam = match dataset.of(Split::Validation).is_empty() {
        true => None,
        false => Some(Exam::new(dataset, Split::Validation)?),
    };
    let start = Instant::now();
    let follow = Follow::new(context, recipe, folder, resume)?;
    let checkpoints = folder.checkpoints();
    let session = Session {
        recipe,
        dataset,
        data_hash,
        checkpoints: &checkpoints,
        seed: context.seed,
        resume,
        stop: &context.stop,
        validate: &|model| match &exam {
            Some(exam) => exam.recall_at_1(model, dataset, context.memory),
            None => Ok(0.0),
        },
        observe: &|event| follow.event(event),
    };
    let Trained { model, images, seconds, .. } = neural::train(&session)?;
    follow.finish()?;
    let training = json!({
        "seconds": start.elapsed().as_secs_f64(),
        "images": images,
        "images_per_second": if seconds > 0.0 { images as f64 / seconds } else { 0.0 },
        "peak_rss_bytes": peak_memory(),
        "recipe": recipe.model.backbone,
        "seed": context.seed,
    });
    Ok(Learned { model, training })
}

/// The finished model of the same run, if the folder holds one.
fn finished(recipe: &Recipe, folder: &RunFolder, data_hash: &str, seed: u64) -> Option<Learned> {
    let model = Model::open(&folder.model()).ok()?;
    let training = folder.read_metrics()?.get("train")?.clone();
    let contract = model.contract();
    let same = contract.recipe.as_deref() == Some(&recipe.to_toml())
        && contract.training_data.as_deref() == Some(data_hash)
        && training.get("seed").and_then(Value::as_u64) == Some(seed);
    same.then_some(Learned { model, training })
}

/// Carries the trainer's events to the terminal and the run folder.
struct Follow<'a> {
    context: &'a Context,
    folder: &'a RunFolder,
    /// Steps of the head phase, and of the other.
    phases: [usize; 2],
    caching: RefCell<Option<Bar>>,
    training: RefCell<Option<Bar>>,
    log: RefCell<crate::run_folder::Log>,
    validation: RefCell<String>,
    failed: RefCell<Option<std::io::Error>>,
}

impl<'a> Follow<'a> {
    fn new(context: &'a Context, recipe: &Recipe, folder: &'a RunFolder, resume: bool) -> Outcome<Self> {
        Ok(Self {
            context,
            folder,
            phases: [recipe.head.steps, recipe.schedule.steps],
            caching: RefCell::default(),
            training: RefCell::default(),
            log: RefCell::new(folder.log_from(if resume { usize::MAX } else { 0 })?),
            validation: RefCell::default(),
            failed: RefCell::default(),
        })
    }

    fn event(&self, event: &Event) {
        match event {
            Event::Note(note) => self.context.talk.say(format!("note: {note}")),
            Event::Resumed { step } => {
                self.context.talk.say(format!("going on after step {step}"));
                match self.folder.log_from(*step) {
                    Ok(log) => _ = self.log.replace(log),
                    Err(failure) => _ = self.failed.replace(Some(std::io::Error::other(failure.line()))),
                }
            }
            Event::Cached { done, total } => {
                let mut caching = self.caching.borrow_mut();
                caching
                    .get_or_insert_with(|| self.context.talk.bar("caching features", *total))
                    .set(*done, *total, "");
                if done == total
                    && let Some(bar) = caching.take()
                {
                    bar.finish(&format!("{total} views"));
                }
            }
            Event::Step(step) => {
                let note = format!(
                    "loss {:.3}  {:.0} images/s{}",
                    step.loss,
                    step.images as f64 / step.seconds,
                    self.validation.borrow()
                );
                // A bar each: the phases' steps differ in time a hundredfold, and so would what is left.
                let [head, rest] = self.phases;
                let (what, done, total) = if step.step <= head {
                    ("training the head", step.step, head)
                } else {
                    ("training", step.step - head, rest)
                };
                if step.step == head + 1 {
                    self.phase_done();
                }
                let mut training = self.training.borrow_mut();
                training.get_or_insert_with(|| self.context.talk.bar(what, total)).set(done, total, &note);
            }
            Event::Validated { step, value, .. } => {
                self.validation.replace(format!("  validation recall@1 {value:.3}"));
                if *step == self.phases[0] {
                    self.phase_done();
                }
            }
        }
        if let Err(error) = self.log.borrow().write(event) {
            self.failed.borrow_mut().get_or_insert(error);
        }
    }

    fn phase_done(&self) {
        if let Some(bar) = self.training.take() {
            bar.finish(&self.validation.borrow());
        }
    }

    fn finish(self) -> Outcome {
        self.phase_done();
        match self.failed.into_inner() {
            Some(error) => {
                let text = format!("cannot write the log in {}", self.folder.path().display());
                Err(Failure::new(Code::Failed, anyhow::Error::new(error).context(text)))
            }
            None => Ok(()),
        }
    }
}

/// The test marks of the trained model and of all that it is compared with.
pub struct Marks {
    pub exam: Exam,
    pub trained: Measured,
    pub starter: Measured,
    pub untrained: Measured,
    pub pixels: Measured,
}

/// The exam on the test split, and how raw pixels do in it. That needs no training, so it comes first: a split
/// without answers is found out before the minutes of training, not after them.
pub fn prepare(context: &Context, dataset: &Dataset) -> Outcome<(Exam, Measured)> {
    let exam = Exam::new(dataset, Split::Test)?;
    let pixels = exam.measure(context, &PixelEmbed::default(), dataset, "pixels")?;
    Ok((exam, pixels))
}

/// Measures the model and the other baselines on the test split. `everything` holds the model's vectors of the
/// whole dataset where they are there already.
pub fn examine(
    context: &Context,
    dataset: &Dataset,
    recipe: &Recipe,
    model: &Model,
    (exam, pixels): (Exam, Measured),
    everything: Option<Rows<'_, f32>>,
) -> Outcome<Marks> {
    let measure = |model: &dyn Embed, name: &str| exam.measure(context, model, dataset, name);
    let trained = match everything {
        Some(rows) => {
            let vectors = exam.items.iter().flat_map(|&item| rows.row(item)).copied().collect();
            exam.mark(context, vectors, model.contract(), "trained")?
        }
        None => measure(model, "trained")?,
    };
    let starter = measure(&Model::starter(), "starter")?;
    let untrained = measure(&Model::untrained(recipe, context.seed), "untrained")?;
    Ok(Marks { trained, starter, untrained, pixels, exam })
}

impl Marks {
    /// The keys of `metrics.json` that come from the exam.
    pub fn to_json(&self, seed: u64) -> Value {
        json!({
            "protocol": self.trained.retrieval.protocol_id(),
            "seed": seed,
            "test": self.trained.retrieval.to_json(),
            "baseline": {
                "pixels": self.pixels.retrieval.to_json(),
                "untrained": self.untrained.retrieval.to_json(),
                "starter": self.starter.retrieval.to_json(),
            },
        })
    }
}

/// Trains, measures, and leaves model, metrics and report in the folder. Gives the metrics.
pub fn run(
    context: &Context,
    source: &Source,
    recipe: &Recipe,
    folder: &RunFolder,
    resume: bool,
    wants_index: Option<Spec>,
) -> Outcome<Value> {
    let mut dataset = source.open()?;
    let checked = check(context, &dataset)?;
    // An index is over the pictures as they are given; how a run splits them is not its business.
    let source_hash = dataset.manifest_hash()?;
    if !dataset.has_splits {
        dataset.split_by_class(context.seed, data::ImportOptions::default().shares)?;
        context.talk.say("no splits are stated: classes are split 60 / 10 / 30 by the seed");
    }
    let data_hash = dataset.manifest_hash()?;
    let checkpoints = resume.then(|| folder.checkpoints());
    neural::fits(recipe, &dataset, &data_hash, context.seed, checkpoints.as_deref())?;
    let prepared = prepare(context, &dataset)?;
    let facts = write_up::facts(context, source, &data_hash);
    folder.start(&facts, recipe, &dataset)?;
    let learned = learn(context, &dataset, recipe, folder, &data_hash, resume)?;
    // Written before it is measured, so that a failure from here on loses no training.
    write_file(&folder.model(), &learned.model.to_bytes())?;
    folder.write_metrics(&json!({"train": learned.training}))?;
    let all: Vec<usize> = (0..dataset.len()).collect();
    let everything =
        wants_index.as_ref().map(|_| context.embed(&learned.model, &dataset, &all, "embedding everything"));
    let everything = everything.transpose()?;
    let rows = everything.as_deref().map(|vectors| {
        Rows::new(vectors, learned.model.contract().dim).expect("an embedding of every picture")
    });
    let marks = examine(context, &dataset, recipe, &learned.model, prepared, rows)?;
    let mut metrics = marks.to_json(context.seed);
    let test = json!({"protocol": metrics["protocol"], "test": metrics["test"]});
    let model = learned.model.with_metrics(test);
    write_file(&folder.model(), &model.to_bytes())?;
    let mut index = None;
    if let (Some(spec), Some(rows)) = (wants_index, rows) {
        let built = build_index(context, &spec, rows, model.contract().metric)?;
        save_index(&dataset, source, &model, &source_hash, context.seed, &*built, &folder.index())?;
        let facts = measure_index(context, &*built, rows, marks.trained.rows())?;
        metrics["index"] = json!({
            "spec": facts.spec, "recall@10": facts.recall_at_10, "qps_single": facts.queries_per_second,
        });
        index = Some(facts);
    }
    metrics["train"] = learned.training;
    let metrics = folder.write_metrics(&metrics)?;
    write_up::write(context, &dataset, &checked, &marks, index, folder, &facts)?;
    Ok(metrics)
}

/// Builds an index with a bar.
pub fn build_index(
    context: &Context,
    spec: &Spec,
    rows: Rows<'_, f32>,
    metric: Metric,
) -> Outcome<Box<dyn Index>> {
    context.talk.say(format!("{:28} {spec} over {} vectors", "indexing", rows.len()));
    let start = Instant::now();
    let build = |watch: &Watch<'_>| index::build(spec, rows, metric, context.seed, watch);
    let index = watched(context, "indexing", build)?;
    context.talk.say(format!("{:28} built ({:.1} s)", "indexing", start.elapsed().as_secs_f64()));
    Ok(index)
}

/// Does some work that is watched by a bar a phase, and stopped by Ctrl-C.
pub fn watched<T>(context: &Context, what: &str, work: impl FnOnce(&Watch<'_>) -> T) -> T {
    let bar: Mutex<Option<(Phase, Bar)>> = Mutex::new(None);
    let progress = |phase: Phase, done, all| {
        // Told from one thread; a bar alone could not be lent to a builder that has several.
        let Ok(mut bar) = bar.lock() else { return };
        if bar.as_ref().is_none_or(|(last, _)| *last != phase) {
            // Each phase has a speed of its own, so each has a bar, and tells the time that it will take.
            let next = (phase, context.talk.bar(&format!("{what}: {phase}"), all));
            if let Some((_, last)) = bar.replace(next) {
                last.clear();
            }
        }
        if let Some((_, bar)) = &*bar {
            bar.set(done, all, "");
        }
    };
    let done = work(&Watch { stop: &context.stop, progress: &progress });
    if let Some((_, bar)) = bar.into_inner().ok().flatten() {
        bar.clear();
    }
    done
}

/// Saves an index over all pictures of a dataset.
pub fn save_index(
    dataset: &Dataset,
    source: &Source,
    model: &dyn Embed,
    data_hash: &str,
    seed: u64,
    index: &dyn Index,
    path: &std::path::Path,
) -> Outcome {
    let provenance = Provenance {
        model: Some(MadeBy { hash: model.model_hash().to_owned(), contract: model.contract().clone() }),
        data_hash: data_hash.to_owned(),
        seed,
    };
    let records: Vec<Record> = (0..dataset.len()).map(|item| Record::of(dataset, item)).collect();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| {
            let text = format!("cannot make the folder {}", folder.display());
            Failure::new(Code::Failed, anyhow::Error::new(error).context(text))
        })?;
    }
    let payload = payload::write(source, &records);
    Ok(index::save(path, index, &provenance, &payload)?)
}

/// Recall@10 against the exact scan, and single queries a second on one thread.
fn measure_index(
    context: &Context,
    index: &dyn Index,
    rows: Rows<'_, f32>,
    queries: Rows<'_, f32>,
) -> Outcome<IndexFacts> {
    let exact = index::build(&Spec::FLAT, rows, index.metric(), context.seed, &Watch::none())?;
    let recall = index::recall(index, &*exact, queries, INDEX_K, Effort::default())?;
    let (mut hits, mut asked) = (data::Hits::default(), 0);
    let start = Instant::now();
    while start.elapsed() < QUERY_TIME {
        let query = queries.slice(asked % queries.len()..asked % queries.len() + 1);
        index.search(query, &Request::top(INDEX_K), &mut hits)?;
        asked += 1;
    }
    let queries_per_second = asked as f64 / start.elapsed().as_secs_f64();
    let spec = index.spec().to_string();
    context.talk.say(format!(
        "{:28} {spec} finds {:.2} % of the 10 exact answers, {queries_per_second:.0} queries/s",
        "measuring the index",
        recall * 100.0
    ));
    Ok(IndexFacts { spec, recall_at_10: recall, queries_per_second })
}
