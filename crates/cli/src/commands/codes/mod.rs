//! `deepembed codes train|encode|eval`: compress files of vectors, and measure what that costs.

mod evaluate;
mod table;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::vectors::Vectors;
use data::Rows;
use data::vectors::{Element, VectorWriter, parse_count};
use quant::{Codec, Spec, Training};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Training rows taken from the base where nothing else is said: 256 for each of 256 centroids, and some more.
const TRAINING: usize = 100_000;

/// Compress files of vectors.
#[derive(clap::Subcommand)]
pub enum Args {
    /// Learn a code from vectors.
    Train(Train),
    /// Write the code of each vector of a file.
    Encode {
        /// Trained code.
        #[arg(long)]
        code: PathBuf,
        /// Vectors; `deepembed data info` lists the formats.
        #[arg(long)]
        base: PathBuf,
        /// Codes, one row of bytes a vector: .npy, .u8bin, .bvecs and others.
        #[arg(long)]
        out: PathBuf,
        /// Only this many vectors from the start: 1000, 10K, 10M.
        #[arg(long, value_name = "N", value_parser = parse_count)]
        first: Option<usize>,
    },
    /// Measure codes on a data set: error, recall, and time.
    #[command(after_help = EVAL_EXAMPLE)]
    Eval(evaluate::Args),
}

const EVAL_EXAMPLE: &str = "Example:\n  \
    deepembed codes eval --base base.fvecs --queries query.fvecs --spec PQ16 --spec OPQ16,PQ16 --spec RaBitQ4\n\n\
    i-recall@R is the share of the i true nearest that are among the first R found.";

/// What to learn and from what.
#[derive(clap::Args)]
pub struct Train {
    /// Vectors to compress later; training takes some of them, evenly spaced.
    #[arg(long)]
    base: PathBuf,
    /// Transforms and a code, such as PQ16, OPQ16,PQ16 or RaBitQ4.
    #[arg(long)]
    spec: Spec,
    /// Trained code, a .safetensors file.
    #[arg(long)]
    out: PathBuf,
    /// How many vectors to learn from: 10K, 1M.
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "100K")]
    train: usize,
    /// Vectors to learn from in place of the base.
    #[arg(long, value_name = "FILE")]
    learn: Option<PathBuf>,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    match args {
        Args::Train(args) => train(context, args),
        Args::Encode { code, base, out, first } => encode(context, code, base, out, *first),
        Args::Eval(args) => evaluate::run(context, args),
    }
}

/// Learns `spec` from `rows`, `n x dim`, with a bar.
fn learn(context: &Context, spec: &Spec, rows: Rows<'_, f32>) -> Outcome<Box<dyn Codec>> {
    let bar = context.talk.bar(&format!("training {spec}"), 0);
    let progress = |done, total| bar.set(done, total, "");
    let training = Training { seed: context.seed, stop: &context.stop, progress: &progress };
    let codec = spec.train(rows, &training)?;
    bar.finish(&format!("{} vectors", rows.len()));
    Ok(codec)
}

fn train(context: &Context, args: &Train) -> Outcome {
    let base = Vectors::open(&args.base, None)?;
    let source = match &args.learn {
        Some(path) => Vectors::open(path, None)?,
        None => Vectors::open(&args.base, None)?,
    };
    source.require(base.dim(), &base.path)?;
    let rows = source.spread(args.train)?;
    let rows = Rows::new(&rows, base.dim()).expect("whole rows were read");
    let codec = learn(context, &args.spec, rows)?;
    quant::save(&args.out, &args.spec, &*codec)?;
    let text = format!(
        "{} of {} values in {} bytes, from {} vectors, in {}",
        args.spec,
        codec.dim(),
        codec.code_len(),
        rows.len(),
        args.out.display()
    );
    let value = json!({
        "spec": args.spec.to_string(),
        "dim": codec.dim(),
        "bytes": codec.code_len(),
        "trained_on": rows.len(),
        "seed": context.seed,
        "code": args.out,
    });
    Ok(context.talk.result(&value, text)?)
}

fn encode(context: &Context, code: &Path, base: &Path, out: &Path, first: Option<usize>) -> Outcome {
    let (spec, codec) = quant::load(code)?;
    let base = Vectors::open(base, first)?;
    base.require(codec.dim(), code)?;
    let mut writer = VectorWriter::create(out, Element::U8, codec.code_len())?;
    let bar = context.talk.bar("encoding", base.len);
    for chunk in base.chunks() {
        if context.stopped() {
            return Err(Failure::interrupted());
        }
        let rows = base.file.read(chunk.clone())?;
        let rows = Rows::new(&rows, base.dim()).expect("whole rows were read");
        writer.push_bytes(&codec.encode_all(rows)?)?;
        bar.set(chunk.end, base.len, "");
    }
    writer.finish()?;
    bar.finish(&format!("{} vectors", base.len));
    let text = format!("{} x {} bytes of {spec} in {}", base.len, codec.code_len(), out.display());
    let value = json!({"spec": spec.to_string(), "rows": base.len, "bytes": codec.code_len(), "codes": out});
    Ok(context.talk.result(&value, text)?)
}
