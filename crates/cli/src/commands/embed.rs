//! `deepembed embed`: pictures to a file of vectors.

use crate::context::{Context, Source, write_file};
use crate::failure::{Code, Failure, Outcome};
use crate::models::{self, ModelName};
use data::MANIFEST_NAME;
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
    /// Vectors: .npy or .fvecs; a .csv beside it names each row.
    #[arg(long)]
    out: PathBuf,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let encode = match args.out.extension().and_then(|e| e.to_str()) {
        Some("npy") => npy,
        Some("fvecs") => fvecs,
        _ => {
            let text = format!("{}: vectors are written as .npy or .fvecs", args.out.display());
            return Err(Failure::message(Code::Usage, text));
        }
    };
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
    write_file(&args.out, &encode(&vectors, dim))?;
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

/// NumPy's format, version 1.0: magic, header length, a dictionary padded to 64 bytes, values.
fn npy(vectors: &[f32], dim: usize) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {dim}), }}", vectors.len() / dim);
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    vectors.iter().for_each(|v| out.extend(v.to_le_bytes()));
    out
}

/// TEXMEX's format: each row is its length (i32) and its values.
fn fvecs(vectors: &[f32], dim: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(vectors.len() * 4 + vectors.len() / dim * 4);
    for row in vectors.chunks_exact(dim) {
        out.extend((dim as u32).to_le_bytes());
        row.iter().for_each(|v| out.extend(v.to_le_bytes()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_by_hand() {
        let fvecs = fvecs(&[1.0, 2.0, 3.0, 4.0], 2);
        assert_eq!(fvecs.len(), 24);
        assert_eq!((&fvecs[..4], &fvecs[4..8]), (&2u32.to_le_bytes()[..], &1f32.to_le_bytes()[..]));
        let npy = npy(&[1.0, 2.0, 3.0, 4.0], 2);
        assert!(npy.starts_with(b"\x93NUMPY\x01\x00"));
        let length = usize::from(u16::from_le_bytes([npy[8], npy[9]]));
        assert!((10 + length).is_multiple_of(64));
        assert!(npy[10..10 + length].ends_with(b"\n"));
        assert_eq!(npy.len(), 10 + length + 16);
        assert!(String::from_utf8_lossy(&npy[10..10 + length]).contains("'shape': (2, 2)"));
    }
}
