//! A second, finer code of each row, by which the best of a scan are ranked again.

use crate::Watch;
use crate::array::Array;
use crate::build::BuildError;
use crate::distance::Distance;
use crate::file::{OpenError, Part, PartKind, Sections};
use crate::scan;
use crate::vectors::{self, Vectors};
use data::{Hit, Metric, Rows};
use kernels::TopK;
use quant::Codec;
use quant::codes::Code;

/// Rows in list order, as they are or coded.
pub(crate) enum Finer {
    /// `Flat`: the rows.
    Rows(Vectors),
    /// Any other code; `n x code_len`, not packed.
    Codes { codec: Box<dyn Codec>, trained: Vec<u8>, codes: Array<u8> },
}

/// The codes of some rows, one after another.
pub(super) fn picked(codes: &[u8], len: usize, places: impl Iterator<Item = u32>) -> Vec<u8> {
    let mut picked = Vec::with_capacity(places.size_hint().0 * len);
    places.for_each(|place| picked.extend_from_slice(&codes[place as usize * len..][..len]));
    picked
}

/// The `k` nearest of `rows` by `measure`, which is given places and writes their distances.
fn nearest(
    rows: &[u32],
    place_of: &[u32],
    k: usize,
    measure: &mut dyn FnMut(&[u32], &mut [f32]),
) -> Vec<Hit> {
    /// Rows measured at once.
    const CHUNK: usize = 256;
    let mut top = TopK::new(k);
    let (mut places, mut distances) = ([0; CHUNK], [0.0; CHUNK]);
    for rows in rows.chunks(CHUNK) {
        let (places, distances) = (&mut places[..rows.len()], &mut distances[..rows.len()]);
        places.iter_mut().zip(rows).for_each(|(place, &row)| *place = place_of[row as usize]);
        measure(places, distances);
        for (&row, &distance) in rows.iter().zip(&*distances) {
            if top.would_keep(distance) {
                top.push(distance, row.into());
            }
        }
    }
    scan::sorted(top).collect()
}

/// The spec of a code alone.
fn alone(code: &Code) -> quant::Spec {
    quant::Spec { changes: Vec::new(), code: code.clone() }
}

impl Finer {
    /// Codes `rows`, which are in the order `ids`, learning from `sample`.
    pub(crate) fn build(
        code: &Code,
        rows: Rows<'_, f32>,
        ids: &[u32],
        sample: Rows<'_, f32>,
        seed: u64,
        watch: &Watch<'_>,
    ) -> Result<Self, BuildError> {
        if matches!(code, Code::Full(_)) {
            return Ok(Self::Rows(Vectors::gather(rows, ids)));
        }
        let codec = watch.train(seed, |training| code.train(sample, training))?;
        let trained = quant::to_bytes(&alone(code), &*codec).map_err(BuildError::Code)?;
        let mut codes = Array::filled(rows.len() * codec.code_len(), 0u8);
        super::encode_rows(&*codec, rows, ids, codes.as_mut(), watch)?;
        Ok(Self::Codes { codec, trained, codes })
    }

    pub(crate) fn open(code: &Code, sections: &Sections<'_>) -> Result<Self, OpenError> {
        if matches!(code, Code::Full(_)) {
            return Ok(Self::Rows(sections.vectors()?));
        }
        let trained = sections.checked_bytes(PartKind::FinerCode)?.to_vec();
        let codec = sections.codec(&trained, &alone(code), sections.dim())?;
        let codes = sections.array(PartKind::FinerCodes, sections.rows().checked_mul(codec.code_len()))?;
        Ok(Self::Codes { codec, trained, codes })
    }

    pub(crate) fn parts(&self) -> Vec<Part<'_>> {
        match self {
            Self::Rows(vectors) => vec![Part::new(PartKind::Rows, vectors.as_slice())],
            Self::Codes { trained, codes, .. } => {
                vec![Part::new(PartKind::FinerCode, trained), Part::new(PartKind::FinerCodes, &codes[..])]
            }
        }
    }

    /// The rows, where they are as they were given.
    pub(crate) fn rows(&self) -> Option<&Vectors> {
        match self {
            Self::Rows(rows) => Some(rows),
            Self::Codes { .. } => None,
        }
    }

    /// The `k` nearest of `rows`; `place_of` tells where a row lies.
    pub(super) fn nearest(
        &self,
        query: &[f32],
        metric: Metric,
        rows: &[u32],
        place_of: &[u32],
        k: usize,
    ) -> Vec<Hit> {
        match self {
            Self::Rows(vectors) => {
                let padded = vectors::padded(query);
                nearest(rows, place_of, k, &mut |places, distances| {
                    Distance::new(metric).at(&padded, vectors.as_slice(), places, distances);
                })
            }
            Self::Codes { codec, codes, .. } => {
                let (mut scorer, len) = (codec.scorer(query, metric), codec.code_len());
                nearest(rows, place_of, k, &mut |places, distances| {
                    scorer.score(&picked(codes, len, places.iter().copied()), distances);
                })
            }
        }
    }

    /// Replaces the distances of `found`, pairs of distance and place; places beyond the rows are dropped.
    pub(crate) fn rank(&self, query: &[f32], metric: Metric, found: &mut Vec<(f32, u64)>) {
        let mut distances = vec![0.0; found.len()];
        match self {
            Self::Rows(rows) => {
                found.retain(|&(_, place)| (place as usize) < rows.len());
                let places: Vec<u32> = found.iter().map(|&(_, place)| place as u32).collect();
                let query = vectors::padded(query);
                Distance::new(metric).at(&query, rows.as_slice(), &places, &mut distances[..found.len()]);
            }
            Self::Codes { codec, codes, .. } => {
                let len = codec.code_len();
                found.retain(|&(_, place)| (place as usize) < codes.len() / len);
                let picked = picked(codes, len, found.iter().map(|&(_, place)| place as u32));
                codec.scorer(query, metric).score(&picked, &mut distances[..found.len()]);
            }
        }
        found.iter_mut().zip(distances).for_each(|(pair, distance)| pair.0 = distance);
    }
}
