//! From rows to lists.

use super::bounds::CODE_SAMPLE;
use super::coarse::{self, Coarse};
use super::finer::Finer;
use super::spec::{ListsSpec, Partition};
use super::{Lists, Places, residual_distances};
use crate::array::Array;
use crate::build::BuildError;
use crate::{Phase, Watch};
use data::{Metric, Rows};
use quant::Codec;
use rayon::prelude::*;

/// Rows that one task encodes.
const CHUNK: usize = 256;
/// Rows after which it is told how far encoding is.
const ROUND: usize = 1 << 16;

pub(super) fn build(
    spec: &ListsSpec,
    rows: Rows<'_, f32>,
    metric: Metric,
    seed: u64,
    watch: &Watch<'_>,
) -> Result<Lists, BuildError> {
    let (n, dim) = (rows.len(), rows.dim());
    let cells = spec.cells.as_ref();
    let lists = cells.map_or(1, |cells| cells.partition.lists());
    let by_rows = cells.is_some_and(|cells| matches!(cells.partition, Partition::Product { .. }));
    // Lists of a product may be empty.
    if n < lists && !by_rows {
        return Err(BuildError::TooFew { rows: n, lists });
    }
    let coarse = cells.map(|cells| Coarse::train(&cells.partition, rows, metric, seed, watch)).transpose()?;
    let assignment = match &coarse {
        Some(coarse) => coarse.assign(rows, metric, watch)?,
        None => vec![0; n],
    };
    let residual = coarse.as_ref().filter(|_| cells.is_some_and(|cells| cells.residual));
    let sample = coarse::sample(rows, CODE_SAMPLE, seed);
    let sample = Rows::new(&sample, dim).expect("whole rows");
    let codec = match residual {
        Some(coarse) => {
            let cells = coarse.assign(sample, metric, watch)?;
            let rows = less_centroids(coarse, sample, &cells);
            let rows = Rows::new(&rows, dim).expect("whole rows");
            watch.train(seed, |training| spec.code.train(rows, training))?
        }
        None => watch.train(seed, |training| spec.code.train(sample, training))?,
    };
    let (starts, ids) = order(&assignment, lists);
    let refine = spec.refine.as_ref();
    let finer = refine.map(|code| Finer::build(code, rows, &ids, sample, seed, watch)).transpose()?;
    let residual = residual.map(|coarse| (coarse, assignment.as_slice()));
    let (offsets, codes) = match by_rows {
        true => {
            let mut codes = Array::filled(n * codec.code_len(), 0u8);
            encode(&*codec, rows, &ids, residual, codes.as_mut(), watch)?;
            (None, codes)
        }
        false => {
            let (offsets, codes) = pack(&*codec, rows, &ids, &starts, residual, watch)?;
            (Some(owned(&offsets)), codes)
        }
    };
    let terms = residual
        .filter(|_| by_rows && residual_distances(spec, metric))
        .map(|(coarse, lists)| owned(&terms(&*codec, &codes, coarse, &ids, lists)));
    watch.step(Phase::Encoding, n, n)?;
    let trained = quant::to_bytes(&spec.code, &*codec).map_err(BuildError::Code)?;
    let places = Places { starts: owned(&starts), offsets, codes, ids: owned(&ids) };
    Ok(Lists {
        spec: spec.clone(),
        metric,
        dim,
        coarse,
        codec,
        trained,
        places,
        terms,
        finer,
        place_of: std::sync::OnceLock::new(),
    })
}

fn owned<T: bytemuck::Pod>(values: &[T]) -> Array<T> {
    let mut array = Array::filled(values.len(), T::zeroed());
    array.as_mut().copy_from_slice(values);
    array
}

/// The first place of each list, then the number of rows; and the row at each place, ascending in each list.
fn order(assignment: &[u32], lists: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0u32; lists + 1];
    assignment.iter().for_each(|&list| starts[list as usize + 1] += 1);
    (0..lists).for_each(|list| starts[list + 1] += starts[list]);
    let mut next = starts.clone();
    let mut ids = vec![0; assignment.len()];
    for (row, &list) in (0..).zip(assignment) {
        ids[next[list as usize] as usize] = row;
        next[list as usize] += 1;
    }
    (starts, ids)
}

/// Rows less the centroid of their list.
fn less_centroids(coarse: &Coarse, rows: Rows<'_, f32>, lists: &[u32]) -> Vec<f32> {
    let mut residuals = Vec::with_capacity(rows.as_slice().len());
    for (row, &list) in rows.iter().zip(lists) {
        coarse.subtract(row, list as usize, &mut residuals);
    }
    residuals
}

/// For the row at each place `|c + r|^2 - |c|^2`, where `c` is its centroid and `r` what its code stands for.
fn terms(codec: &dyn Codec, codes: &[u8], coarse: &Coarse, ids: &[u32], lists: &[u32]) -> Vec<f32> {
    let mut terms = vec![0.0; ids.len()];
    let chunks = terms.par_chunks_mut(CHUNK).zip(ids.par_chunks(CHUNK));
    chunks.zip(codes.par_chunks(CHUNK * codec.code_len())).for_each(|((terms, ids), codes)| {
        let mut residuals = vec![0.0; ids.len() * codec.dim()];
        codec.decode(codes, &mut residuals);
        for ((term, &id), residual) in terms.iter_mut().zip(ids).zip(residuals.chunks_exact(codec.dim())) {
            let [first, second] = coarse.centroid(lists[id as usize] as usize);
            let pairs = residual.iter().zip(first.iter().chain(second));
            *term = pairs.map(|(r, c)| r * (r + 2.0 * c)).sum();
        }
    });
    terms
}

/// The packed codes of all lists and where each starts. No more than the codes of one list exist twice.
fn pack(
    codec: &dyn Codec,
    rows: Rows<'_, f32>,
    ids: &[u32],
    starts: &[u32],
    residual: Option<(&Coarse, &[u32])>,
    watch: &Watch<'_>,
) -> Result<(Vec<u64>, Array<u8>), BuildError> {
    let mut offsets = vec![0u64];
    let sizes = starts.windows(2).map(|pair| codec.packed_len((pair[1] - pair[0]) as usize) as u64);
    let mut end = 0;
    offsets.extend(sizes.map(|size| {
        end += size;
        end
    }));
    let mut codes = Array::filled(end as usize, 0u8);
    let mut rest = codes.as_mut();
    let mut parts = Vec::with_capacity(starts.len() - 1);
    for (pair, places) in offsets.windows(2).zip(starts.windows(2)) {
        let (part, left) = rest.split_at_mut((pair[1] - pair[0]) as usize);
        rest = left;
        parts.push((part, &ids[places[0] as usize..places[1] as usize]));
    }
    let silent = Watch { progress: &|_, _, _| {}, ..*watch };
    let round = (parts.len() as u64 * ROUND as u64 / ids.len().max(1) as u64).max(64) as usize;
    let mut done = 0;
    for parts in parts.chunks_mut(round) {
        watch.step(Phase::Encoding, done, ids.len())?;
        parts.par_iter_mut().try_for_each(|(part, ids)| {
            let mut plain = vec![0; ids.len() * codec.code_len()];
            encode(codec, rows, ids, residual, &mut plain, &silent)?;
            part.copy_from_slice(&codec.pack(plain));
            Ok::<(), BuildError>(())
        })?;
        done += parts.iter().map(|(_, ids)| ids.len()).sum::<usize>();
    }
    Ok((offsets, codes))
}

/// Writes the codes of the rows `ids`, one after another.
pub(crate) fn encode_rows(
    codec: &dyn Codec,
    rows: Rows<'_, f32>,
    ids: &[u32],
    codes: &mut [u8],
    watch: &Watch<'_>,
) -> Result<(), BuildError> {
    encode(codec, rows, ids, None, codes, watch)
}

/// Writes the codes of the rows `ids`, one after another; of what is left of them without their centroid,
/// where `residual` gives centroids and the list of each row.
fn encode(
    codec: &dyn Codec,
    rows: Rows<'_, f32>,
    ids: &[u32],
    residual: Option<(&Coarse, &[u32])>,
    codes: &mut [u8],
    watch: &Watch<'_>,
) -> Result<(), BuildError> {
    let rounds = codes.chunks_mut(ROUND * codec.code_len()).zip(ids.chunks(ROUND)).enumerate();
    for (round, (codes, part)) in rounds {
        watch.step(Phase::Encoding, round * ROUND, ids.len())?;
        codes.par_chunks_mut(CHUNK * codec.code_len()).zip(part.par_chunks(CHUNK)).for_each(
            |(codes, ids)| {
                if watch.stopped() {
                    return;
                }
                let mut picked: Vec<f32> =
                    ids.iter().flat_map(|&id| rows.row(id as usize)).copied().collect();
                if let Some((coarse, lists)) = residual {
                    let here: Vec<u32> = ids.iter().map(|&id| lists[id as usize]).collect();
                    picked =
                        less_centroids(coarse, Rows::new(&picked, rows.dim()).expect("whole rows"), &here);
                }
                codec.encode(Rows::new(&picked, rows.dim()).expect("whole rows"), codes);
            },
        );
    }
    watch.go_on()
}
