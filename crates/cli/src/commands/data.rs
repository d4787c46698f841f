//! `deepembed data check|import`: look at pictures before anything is learned from them.

use crate::context::{Context, Source};
use crate::failure::{Code, Failure, Outcome};
use crate::pipeline;
use data::{DataReport, ImportOptions};
use serde_json::json;
use std::path::PathBuf;

/// Check or import a dataset.
#[derive(clap::Subcommand)]
pub enum Args {
    /// Count pictures and classes; find unreadable and duplicate pictures and leaks between splits.
    Check {
        /// A folder of class folders, a CSV file, a folder with manifest.csv, a .tar, or builtin:emoji.
        data: Source,
    },
    /// Write a folder with a manifest: splits and content hashes fixed once and for all.
    Import {
        /// A folder of class folders, a CSV file or a .tar.
        from: PathBuf,
        /// New folder.
        to: PathBuf,
        /// Copy the pictures; without, the manifest points to where they are.
        #[arg(long)]
        copy: bool,
        /// Shares of classes for train, validation and test, where no splits are stated.
        #[arg(long, value_name = "TRAIN,VALIDATION,TEST", value_delimiter = ',', default_values_t = [0.6, 0.1, 0.3])]
        split: Vec<f64>,
    },
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    match args {
        Args::Check { data } => check(context, data),
        Args::Import { from, to, copy, split } => {
            let Ok(shares) = <[f64; 3]>::try_from(split.as_slice()) else {
                return Err(Failure::message(Code::Usage, "--split takes three shares, as in 0.6,0.1,0.3"));
            };
            let options = ImportOptions { copy: *copy, seed: context.seed, shares };
            let dataset = data::import(from, to, &options)?;
            let hash = dataset.manifest_hash()?;
            let text = format!(
                "{} pictures of {} classes in {}",
                dataset.len(),
                dataset.classes.len(),
                to.display()
            );
            let value =
                json!({"pictures": dataset.len(), "classes": dataset.classes.len(), "manifest_hash": hash});
            Ok(context.talk.result(&value, text)?)
        }
    }
}

fn check(context: &Context, source: &Source) -> Outcome {
    let dataset = match source {
        Source::Emoji => data::Dataset::emoji()?,
        Source::Path(path) => data::Dataset::open(path)?,
    };
    let bar = context.talk.bar("checking", dataset.len());
    let report = data::check(&dataset, &|_, _| {});
    bar.finish(&format!("{} pictures", report.pictures));
    let mut value = serde_json::to_value(&report).expect("a report has a JSON form");
    value["leaks"] = serde_json::to_value(report.leaks()).expect("leaks have a JSON form");
    value["warnings"] = json!(report.warnings());
    context.talk.result(&value, text(&report))?;
    pipeline::sound(&report)
}

fn text(report: &DataReport) -> String {
    let mut lines =
        vec![format!("{}: {} pictures of {} classes", report.name, report.pictures, report.classes.len())];
    for split in &report.splits {
        lines.push(format!(
            "  {:10} {} pictures of {} classes",
            split.split.name(),
            split.pictures,
            split.classes
        ));
    }
    for (camera, pictures) in &report.cameras {
        lines.push(format!("  from {camera}: {pictures} pictures"));
    }
    lines.push(format!("identical files: {} groups", report.duplicates.len()));
    lines.push(format!("near duplicates: {} pairs", report.near_duplicates.len()));
    lines.extend(report.unreadable.iter().map(|bad| format!("UNREADABLE {}: {}", bad.path, bad.reason)));
    lines.extend(report.leaks().iter().map(|leak| format!("LEAK {leak}")));
    lines.extend(report.warnings().iter().map(|warning| format!("note: {warning}")));
    lines.push(if report.is_ok() { "ok".to_owned() } else { "not ok".to_owned() });
    lines.join("\n")
}
