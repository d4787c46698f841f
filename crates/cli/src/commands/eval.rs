//! `deepembed eval`: the retrieval metrics of a model on one split.

use crate::context::{Context, Source};
use crate::failure::Outcome;
use crate::measure::Exam;
use crate::models::{self, ModelName};
use data::Split;
use serde_json::json;

/// Measure a model on pictures.
#[derive(clap::Args)]
pub struct Args {
    /// Pictures: a folder of class folders, a CSV file, a folder with manifest.csv, a .tar, or builtin:emoji.
    #[arg(long)]
    data: Source,
    /// Model file, or starter, or pixels.
    #[arg(long, default_value = "starter")]
    model: ModelName,
    /// Split to measure: train, validation or test. Data without splits are test data.
    #[arg(long, default_value = "test")]
    split: Split,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let model = models::open(&args.model)?;
    let mut dataset = args.data.open()?;
    if !dataset.has_splits {
        dataset.items.iter_mut().for_each(|item| item.split = args.split);
    }
    let exam = Exam::new(&dataset, args.split)?;
    let measured = exam.measure(context, &*model, &dataset, &model.contract().architecture)?;
    let mut value = measured.retrieval.to_json();
    value["model_hash"] = json!(model.model_hash());
    value["data"] = json!(args.data.to_string());
    value["split"] = json!(args.split.name());
    let mut lines = vec![format!("protocol     {}", measured.retrieval.protocol_id())];
    let estimate =
        |name: &str, e: eval::Estimate| format!("{name:12} {:.4} [{:.4}, {:.4}]", e.value, e.low, e.high);
    for &(k, recall) in &measured.retrieval.recall {
        lines.push(estimate(&format!("recall@{k}"), recall));
    }
    lines.push(estimate("map@r", measured.retrieval.map_at_r));
    lines.push(estimate("r_precision", measured.retrieval.r_precision));
    lines.extend(measured.retrieval.nmi.map(|nmi| estimate("nmi", nmi)));
    lines.extend(measured.retrieval.protocol_words());
    Ok(context.talk.result(&value, lines.join("\n"))?)
}
