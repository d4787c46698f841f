//! `deepembed embed`: pictures to a file of vectors.

use crate::context::{Context, Source};
use crate::failure::{Code, Failure, Outcome};
use crate::models::{self, ModelName};
use data::MANIFEST_NAME;
use data::vectors::{Element, Format, VectorWriter};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Embed pictures into a file of vectors.
#[derive(clap::Args)]
pub struct Args {
    /// Pictures: a folder of class folders, a CSV file, a folder with manifest.csv, a .tar, or builtin:emoji.
    #[arg(long)]
    data: Source,
    /// Model file, or starter, or pixels.
    #[arg(long, default_value = "starter")]
    model: ModelName,
    /// Vectors: .npy, .fvecs, .fbin, .safetensors, .parquet or .arrow; a .csv beside it names each row.
    #[arg(long)]
    out: PathBuf,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    // Whether the name can be written is said before the work, not after.
    match Format::of(&args.out) {
        Some(format)
            if format != Format::Hdf5 && format.element().is_none_or(|holds| holds == Element::F32) => {}
        _ => {
            let text = format!(
                "{}: vectors are written as .npy, .fvecs, .fbin, .safetensors, .parquet or .arrow",
                args.out.display()
            );
            return Err(Failure::message(Code::Usage, text));
        }
    }
    let rows = args.out.with_extension("csv");
    if let Source::Path(data) = &args.data
        && [data.clone(), data.join(MANIFEST_NAME)].iter().any(|own| same_file(own, &rows))
    {
        let text =
            format!("{} would be replaced by the names of the rows; give another --out", rows.display());
        return Err(Failure::message(Code::Usage, text));
    }
    let model = models::open(&args.model)?;
    let dataset = args.data.open()?;
    let items: Vec<usize> = (0..dataset.len()).collect();
    let vectors = context.embed(&*model, &dataset, &items, "embedding")?;
    let dim = model.contract().dim;
    write(&args.out, &vectors, dim)?;
    if let Err(error) = dataset.write_manifest(&rows) {
        // Vectors that nothing names are no result.
        let _ = std::fs::remove_file(&args.out);
        return Err(error.into());
    }
    let text = format!(
        "{} x {dim} vectors in {}, rows named in {}",
        items.len(),
        args.out.display(),
        rows.display()
    );
    let value = json!({"rows": items.len(), "dim": dim, "model_hash": model.model_hash(), "vectors": args.out, "manifest": rows});
    Ok(context.talk.result(&value, text)?)
}

/// Whether both paths lead to one file that exists.
fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Writes rows of `dim` values, and the folders above the file.
fn write(path: &Path, vectors: &[f32], dim: usize) -> Outcome {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| {
            let error = anyhow::Error::new(error).context(format!("cannot write {}", path.display()));
            Failure::new(Code::Failed, error)
        })?;
    }
    let mut out = VectorWriter::create(path, Element::F32, dim)?;
    out.push(vectors)?;
    out.finish()?;
    Ok(())
}
