//! `deepembed report RUN`: measure a run's model again and write its report anew.

use crate::commands::train;
use crate::context::Context;
use crate::failure::{Code, Failure, Outcome};
use crate::run_folder::RunFolder;
use crate::{pipeline, write_up};
use eval::report::IndexFacts;
use neural::Model;
use std::path::PathBuf;

/// Write the report of a run anew, from measuring its model again.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the run.
    run: PathBuf,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let folder = RunFolder::at(&args.run);
    let facts = folder.facts()?;
    let context = &Context { seed: facts.seed, stop: context.stop.clone(), ..*context };
    let mut dataset = folder.source()?.open()?;
    let checked = pipeline::check(context, &dataset)?;
    if !dataset.has_splits {
        dataset.split_by_class(facts.seed, data::ImportOptions::default().shares)?;
    }
    let hash = dataset.manifest_hash()?;
    if hash != facts.data_hash {
        let text = format!(
            "the pictures of {} changed since the run ({} then, {hash} now)",
            facts.data, facts.data_hash
        );
        return Err(Failure::message(Code::Failed, text));
    }
    let model = Model::open(&folder.model())?;
    let recipe = folder.recipe()?;
    let prepared = pipeline::prepare(context, &dataset)?;
    let marks = pipeline::examine(context, &dataset, &recipe, &model, prepared, None)?;
    let stored = folder.read_metrics().unwrap_or_default();
    let number = |key: &str| stored["index"][key].as_f64();
    let index = stored["index"]["spec"].as_str().and_then(|spec| {
        Some(IndexFacts {
            spec: spec.to_owned(),
            recall_at_10: number("recall@10")?,
            queries_per_second: number("qps_single")?,
        })
    });
    let metrics = marks.to_json(facts.seed);
    if stored["test"] != metrics["test"] {
        context.talk.say("note: the numbers differ from those in metrics.json, which are replaced");
    }
    let metrics = folder.write_metrics(&metrics)?;
    write_up::write(context, &dataset, &checked, &marks, index, &folder, &facts)?;
    Ok(context.talk.result(&metrics, train::summary(&metrics, &folder))?)
}
