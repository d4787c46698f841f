//! `deepembed demo`: the whole path on the built-in pictures, in minutes.

use crate::commands::{serve, train};
use crate::context::{Context, Source};
use crate::failure::Outcome;
use crate::pipeline;
use crate::run_folder::RunFolder;
use index::Spec;
use std::path::PathBuf;

/// Train, measure, index and search, end to end.
#[derive(clap::Args)]
pub struct Args {
    /// Pictures to use instead of the built-in emoji.
    #[arg(long, default_value = "builtin:emoji")]
    data: Source,
    /// Folder of the run; a second run on it shows the path again without training.
    #[arg(long, default_value = "deepembed-demo")]
    out: PathBuf,
    /// Train only a head on the starter's features: the whole path in under a minute.
    #[arg(long)]
    quick: bool,
    /// Stop after the report; do not serve the page.
    #[arg(long)]
    no_serve: bool,
    /// Go on from the newest checkpoint in the folder.
    #[arg(long)]
    resume: bool,
    /// Recipe to use instead of the demo's own.
    #[arg(short = 'c', long = "config", conflicts_with = "quick")]
    recipe: Option<String>,
    /// Replace a value of the recipe, as in schedule.steps=100.
    #[arg(short = 'o', long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Index to build.
    #[arg(long, default_value = "HNSW16")]
    spec: Spec,
    #[command(flatten)]
    listen: serve::Listen,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let recipe = args.recipe.as_deref().unwrap_or(if args.quick { "quick" } else { "starter" });
    let recipe = train::recipe(recipe, &args.overrides)?;
    // Before the minutes of training, not after them.
    let listener = if args.no_serve { None } else { Some(args.listen.bind()?) };
    let folder = RunFolder::at(&args.out);
    let metrics = pipeline::run(context, &args.data, &recipe, &folder, args.resume, Some(args.spec.clone()))?;
    context.talk.result(&metrics, train::summary(&metrics, &folder))?;
    match listener {
        Some(listener) => serve::run_folder(context, &folder, listener),
        None => Ok(()),
    }
}
