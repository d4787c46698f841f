//! What nodes hold, and how a walk measures them: vectors, or codes alone.

use crate::Watch;
use crate::array::Array;
use crate::build::BuildError;
use crate::distance::Distance;
use crate::file::{OpenError, Part, PartKind, Sections};
use crate::lists;
use crate::vectors::{self, Vectors};
use data::{Metric, Rows};
use quant::{Codec, Scorer};
use std::borrow::Cow;

/// Codes brought together at once, so that they stay in the first-level cache.
const GATHERED: usize = 16;

/// The distances of one query to nodes.
pub(super) trait Near {
    /// Writes the distance of each of `ids`, all of which are nodes.
    fn measure(&mut self, ids: &[u32], distances: &mut [f32]);
}

/// A query among vectors, padded as they are.
pub(super) struct NearRows<'a> {
    pub(super) distance: Distance,
    pub(super) rows: &'a [f32],
    pub(super) query: Cow<'a, [f32]>,
}

impl Near for NearRows<'_> {
    fn measure(&mut self, ids: &[u32], distances: &mut [f32]) {
        self.distance.at(&self.query, self.rows, ids, distances);
    }
}

/// A query among codes.
struct NearCodes<'a> {
    scorer: Box<dyn Scorer + 'a>,
    codes: &'a [u8],
    len: usize,
    picked: Vec<u8>,
}

impl<'a> NearCodes<'a> {
    fn code(&self, id: u32) -> &'a [u8] {
        &self.codes[id as usize * self.len..][..self.len]
    }
}

impl Near for NearCodes<'_> {
    fn measure(&mut self, ids: &[u32], distances: &mut [f32]) {
        ids.iter().take(GATHERED).for_each(|&id| kernels::prefetch(self.code(id)));
        for (i, (here, out)) in ids.chunks(GATHERED).zip(distances.chunks_mut(GATHERED)).enumerate() {
            let after = ids.iter().skip((i + 1) * GATHERED).take(GATHERED);
            after.for_each(|&id| kernels::prefetch(self.code(id)));
            for (slot, &id) in here.iter().enumerate() {
                let code = self.code(id);
                self.picked[slot * self.len..][..self.len].copy_from_slice(code);
            }
            self.scorer.score(&self.picked[..here.len() * self.len], out);
        }
    }
}

/// A code that was learnt, and as a file holds it.
pub(super) struct Trained {
    codec: Box<dyn Codec>,
    trained: Vec<u8>,
}

impl Trained {
    /// Learns from `sample`.
    pub(super) fn learn(
        spec: &quant::Spec,
        sample: Rows<'_, f32>,
        seed: u64,
        watch: &Watch<'_>,
    ) -> Result<Self, BuildError> {
        let codec = watch.train(seed, |training| spec.train(sample, training))?;
        let trained = quant::to_bytes(spec, &*codec).map_err(BuildError::Code)?;
        Ok(Self { codec, trained })
    }
}

/// What nodes hold.
pub(super) enum Points {
    /// Their vectors.
    Rows(Vectors),
    /// `n x code_len` bytes, and the code as a file holds it.
    Codes { codec: Box<dyn Codec>, trained: Vec<u8>, codes: Array<u8> },
}

impl Points {
    /// Codes of `rows` in the order `ids`.
    pub(super) fn coded(
        code: Trained,
        rows: Rows<'_, f32>,
        ids: &[u32],
        watch: &Watch<'_>,
    ) -> Result<Self, BuildError> {
        let Trained { codec, trained } = code;
        let len = codec.code_len();
        let mut codes = Array::filled(rows.len() * len, 0u8);
        lists::encode_rows(&*codec, rows, ids, codes.as_mut(), watch)?;
        Ok(Self::Codes { codec, trained, codes })
    }

    pub(super) fn open(spec: Option<&quant::Spec>, sections: &Sections<'_>) -> Result<Self, OpenError> {
        let Some(spec) = spec else { return Ok(Self::Rows(sections.vectors()?)) };
        let trained = sections.checked_bytes(PartKind::Code)?.to_vec();
        let codec = sections.codec(&trained, spec, sections.dim())?;
        let codes = sections.array(PartKind::NodeCodes, sections.rows().checked_mul(codec.code_len()))?;
        Ok(Self::Codes { codec, trained, codes })
    }

    pub(super) fn parts(&self) -> Vec<Part<'_>> {
        match self {
            Self::Rows(vectors) => vec![Part::new(PartKind::Rows, vectors.as_slice())],
            Self::Codes { trained, codes, .. } => {
                vec![Part::new(PartKind::Code, trained), Part::new(PartKind::NodeCodes, &codes[..])]
            }
        }
    }

    /// A query of as many values as the rows had.
    pub(super) fn near<'a>(&'a self, query: &[f32], metric: Metric) -> Box<dyn Near + 'a> {
        match self {
            Self::Rows(vectors) => Box::new(NearRows {
                distance: Distance::new(metric),
                rows: vectors.as_slice(),
                query: Cow::Owned(vectors::padded(query)),
            }),
            Self::Codes { codec, codes, .. } => {
                let len = codec.code_len();
                let scorer = codec.scorer(query, metric);
                Box::new(NearCodes { scorer, codes, len, picked: vec![0; GATHERED * len] })
            }
        }
    }
}
