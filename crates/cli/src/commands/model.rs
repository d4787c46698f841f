//! `deepembed model info`: what a model file says of itself.

use crate::context::Context;
use crate::failure::Outcome;
use crate::models::{self, ModelName};
use serde_json::json;

/// Look at a model.
#[derive(clap::Subcommand)]
pub enum Args {
    /// Print the contract: preprocessing, architecture, dimension, metric, data, licence, measured metrics.
    Info {
        /// Model file, or starter, or pixels.
        model: ModelName,
    },
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let Args::Info { model } = args;
    let model = models::open(model)?;
    let contract = model.contract();
    let preprocess = &contract.preprocess;
    let value = json!({"model_hash": model.model_hash(), "contract": contract});
    let recall = contract.metrics.as_ref().and_then(|m| m["test"]["recall@1"]["value"].as_f64());
    let text = [
        format!("hash          {}", model.model_hash()),
        format!("architecture  {}", contract.architecture),
        format!(
            "embedding     {} values, {}{}",
            contract.dim,
            contract.metric,
            if contract.normalised { ", unit length" } else { "" }
        ),
        format!(
            "input         {0} x {0}, {1:?}, {2:?}, mean {3:?}, std {4:?}",
            preprocess.size, preprocess.crop, preprocess.filter, preprocess.mean, preprocess.std
        ),
        format!("training data {}", contract.training_data.as_deref().unwrap_or("none of ours")),
        format!(
            "recall@1      {}",
            recall.map_or("not measured".to_owned(), |r| format!("{r:.4} (test, when made)"))
        ),
        format!("licence       {}", contract.licence),
    ]
    .join("\n");
    Ok(context.talk.result(&value, text)?)
}
