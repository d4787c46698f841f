//! A second, finer code of each row, by which the best of a scan are ranked again.

use crate::Watch;
use crate::array::Array;
use crate::build::BuildError;
use crate::distance::Distance;
use crate::file::{OpenError, Part, PartKind, Sections};
use crate::vectors::{self, Vectors};
use data::{Metric, Rows};
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
fn picked(codes: &[u8], len: usize, places: impl Iterator<Item = u32>) -> Vec<u8> {
    places.flat_map(|place| &codes[place as usize * len..][..len]).copied().collect()
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

    /// The `k` nearest of the rows at `places`: distances and places.
    pub(super) fn nearest(&self, query: &[f32], metric: Metric, places: &[u32], k: usize) -> Vec<(f32, u64)> {
        /// Rows ranked at once.
        const CHUNK: usize = 256;
        let mut top = TopK::new(k);
        let padded = vectors::padded(query);
        let mut offer = |places: &[u32], distances: &[f32]| {
            for (&place, &distance) in places.iter().zip(distances) {
                if top.would_keep(distance) {
                    top.push(distance, place.into());
                }
            }
        };
        let mut distances = [0.0; CHUNK];
        match self {
            Self::Rows(rows) => {
                let distance = Distance::new(metric);
                for places in places.chunks(CHUNK) {
                    let distances = &mut distances[..places.len()];
                    distance.at(&padded, rows.as_slice(), places, distances);
                    offer(places, distances);
                }
            }
            Self::Codes { codec, codes, .. } => {
                let mut scorer = codec.scorer(query, metric);
                for places in places.chunks(CHUNK) {
                    let distances = &mut distances[..places.len()];
                    scorer.score(&picked(codes, codec.code_len(), places.iter().copied()), distances);
                    offer(places, distances);
                }
            }
        }
        top.into_sorted()
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
