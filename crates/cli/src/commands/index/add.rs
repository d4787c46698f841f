//! `deepembed index add`: rows added to an index of vectors, or put in the place of others.

use super::growth;
use crate::context::Context;
use crate::failure::{Code, Failure, Outcome};
use crate::pipeline::watched;
use crate::vectors::Vectors;
use data::{Id, Rows};
use index::Writer;
use std::path::PathBuf;

/// What to add to what.
#[derive(clap::Args)]
pub struct Args {
    /// Index of vectors.
    index: PathBuf,
    /// Vectors to add.
    #[arg(long)]
    vectors: PathBuf,
    /// A text file of ids, a line each, in the order of the vectors.
    #[arg(long, value_name = "FILE", conflicts_with = "first_id")]
    ids: Option<PathBuf>,
    /// The id of the first vector; the others follow. Without, one more than the highest id in the index.
    #[arg(long, value_name = "N")]
    first_id: Option<Id>,
    /// Put vectors in the place of those that have their ids.
    #[arg(long)]
    update: bool,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let mut writer = Writer::open(&args.index)?;
    let reader = writer.reader();
    if let Some(model) = &reader.provenance.model {
        let why = format!(
            "{} holds pictures, embedded by {}; build it again with the new ones",
            args.index.display(),
            model.contract.architecture
        );
        return Err(Failure::message(Code::Failed, why));
    }
    let vectors = Vectors::open(&args.vectors, None)?;
    vectors.require(reader.index.dim(), &args.index)?;
    let ids = match &args.ids {
        Some(path) => growth::read_ids(path)?,
        None => following(args.first_id.unwrap_or(reader.id_bound()), vectors.len)?,
    };
    if ids.len() != vectors.len {
        let why = format!("{} ids for the {} vectors of {}", ids.len(), vectors.len, args.vectors.display());
        return Err(Failure::message(Code::Failed, why));
    }
    let mut replaced = 0;
    for range in vectors.chunks() {
        if context.stopped() {
            return Err(Failure::interrupted());
        }
        let values = vectors.file.read(range.clone())?;
        let rows = Rows::new(&values, vectors.dim()).expect("whole rows were read");
        match args.update {
            true => replaced += writer.update(&ids[range], rows)?,
            false => writer.add(&ids[range], rows)?,
        }
    }
    let done = watched(context, "adding", |watch| writer.commit(watch))?;
    let (added, text) = match args.update {
        true => (ids.len() - replaced, format!("{} rows added, {replaced} replaced", ids.len() - replaced)),
        false => (ids.len(), format!("{} rows added", ids.len())),
    };
    let more = serde_json::json!({"added": added, "replaced": replaced});
    growth::report(context, &args.index, &done, &text, more)
}

/// As many ids from `first` on.
fn following(first: Id, many: usize) -> Outcome<Vec<Id>> {
    let end = first.checked_add(many as u64);
    let end = end.ok_or_else(|| Failure::message(Code::Usage, "the ids would pass 2^64; give lower ones"))?;
    Ok((first..end).collect())
}
