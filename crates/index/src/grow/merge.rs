//! Several files made one.

use super::segment::Segment;
use super::segmented::Segmented;
use super::{GrowError, generation::Generation};
use crate::file::PartKind;
use crate::{Index, save};
use data::Id;
use std::path::{Path, PathBuf};

/// Writes the rows of all of `paths`, under their ids, to the new file `out`: the spec, the provenance and the payload
/// are those of the first. Segments are taken as they are; a commit or a compaction of the new file folds them.
///
/// # Errors
/// When a file is no index or damaged, compares other vectors than the first, comes from another model, or has an id
/// that one before it has; and when `out` cannot be written.
///
/// # Panics
/// When there is no path.
pub fn merge(paths: &[PathBuf], out: &Path) -> Result<usize, GrowError> {
    let mut all = Vec::with_capacity(paths.len());
    for path in paths {
        let generation = Generation::open(path)?;
        generation.file.sections().check_all()?;
        all.push(generation);
    }
    let first = &all[0];
    for (path, other) in paths.iter().zip(&all).skip(1) {
        if let Some(why) = difference(first, other) {
            return Err(GrowError::Apart { path: path.clone(), first: paths[0].clone(), why });
        }
    }
    let mut ids: Vec<Id> = Vec::new();
    for (path, generation) in paths.iter().zip(&all) {
        let own = generation.segments.segments.iter().flat_map(Segment::living).map(|(id, _)| id);
        ids.extend(own);
        ids.sort_unstable();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            let why = format!("id {} is in both; give the rows of one other ids", pair[0]);
            return Err(GrowError::Apart { path: path.clone(), first: paths[0].clone(), why });
        }
    }
    let head = first.file.head();
    let (spec, metric, dim) = (head.spec.clone(), head.metric, head.dim);
    let (provenance, payload) =
        (first.provenance.clone(), first.file.sections().bytes(PartKind::Payload)?.to_vec());
    let segments = all.into_iter().flat_map(|generation| generation.segments.segments);
    let merged = Segmented::new(spec, metric, dim, segments.filter(|segment| segment.alive() > 0).collect());
    save(out, &merged, &provenance, &payload)?;
    Ok(merged.len())
}

/// Why two files hold no parts of one index.
fn difference(first: &Generation, other: &Generation) -> Option<String> {
    let (one, two) = (first.file.head(), other.file.head());
    if one.dim != two.dim {
        return Some(format!("it has rows of {} dimensions, not {}", two.dim, one.dim));
    }
    if one.metric != two.metric {
        return Some(format!("it compares by {}, not by {}", two.metric, one.metric));
    }
    let model = |generation: &Generation| {
        generation
            .provenance
            .model
            .as_ref()
            .map_or_else(|| "no model".to_owned(), |model| model.hash.to_lowercase())
    };
    (model(first) != model(other))
        .then(|| format!("its rows come from {}, not from {}", model(other), model(first)))
}
