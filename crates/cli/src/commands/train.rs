//! `deepembed train metric`: a recipe and pictures to a run folder with a measured model.

use crate::context::{Context, Source};
use crate::failure::{Code, Failure, Outcome};
use crate::pipeline;
use crate::run_folder::RunFolder;
use neural::{RECIPES, Recipe};
use std::path::PathBuf;

/// Train a model.
#[derive(clap::Subcommand)]
pub enum Args {
    /// Deep metric learning: pictures of one class come to lie together.
    Metric(Metric),
}

#[derive(clap::Args)]
pub struct Metric {
    /// Pictures: a folder of class folders, a CSV file, a folder with manifest.csv, or a .tar.
    #[arg(long, default_value = "builtin:emoji")]
    data: Source,
    /// Recipe: a file, or the name of a built-in one (starter, quick, scratch, arcface and others, listed in the book).
    #[arg(short = 'c', long = "config", default_value = "starter")]
    recipe: String,
    /// Replace a value of the recipe, as in optimiser.rate=0.001; may be given several times.
    #[arg(short = 'o', long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Folder of the run.
    #[arg(long, default_value = "runs/metric")]
    out: PathBuf,
    /// Go on from the newest checkpoint in the folder.
    #[arg(long)]
    resume: bool,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let Args::Metric(args) = args;
    let recipe = recipe(&args.recipe, &args.overrides)?;
    let folder = RunFolder::at(&args.out);
    let metrics = pipeline::run(context, &args.data, &recipe, &folder, args.resume, None)?;
    Ok(context.talk.result(&metrics, summary(&metrics, &folder))?)
}

/// A recipe by name or from a file, with its overrides.
pub fn recipe(name: &str, overrides: &[String]) -> Outcome<Recipe> {
    let text = match Recipe::named(name) {
        Some(text) => text.to_owned(),
        None => std::fs::read_to_string(name).map_err(|error| {
            let known: Vec<&str> = RECIPES.iter().map(|(name, _)| *name).collect();
            let text = format!("{name} is neither a recipe file nor one of {}", known.join(", "));
            Failure::new(Code::Usage, anyhow::Error::new(error).context(text))
        })?,
    };
    Ok(Recipe::parse(&text, overrides)?)
}

/// The numbers that matter, a line each.
pub fn summary(metrics: &serde_json::Value, folder: &RunFolder) -> String {
    let row = |name: &str, of: &serde_json::Value| {
        let get = |metric: &str, part: &str| of[metric][part].as_f64().unwrap_or(f64::NAN);
        format!(
            "{name:10} recall@1 {:.4} [{:.4}, {:.4}]   map@r {:.4}   nmi {:.4}",
            get("recall@1", "value"),
            get("recall@1", "low"),
            get("recall@1", "high"),
            get("map@r", "value"),
            get("nmi", "value"),
        )
    };
    let baseline = &metrics["baseline"];
    [
        format!("protocol   {}", metrics["protocol"].as_str().unwrap_or("?")),
        row("trained", &metrics["test"]),
        row("starter", &baseline["starter"]),
        row("untrained", &baseline["untrained"]),
        row("pixels", &baseline["pixels"]),
        format!("report     {}", folder.report().display()),
    ]
    .join("\n")
}
