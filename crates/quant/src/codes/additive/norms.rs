//! What a code keeps of the squared length of its decoded vector.

use crate::codebook::cluster;
use crate::{Array, Arrays, RestoreError, TrainError, Training};
use kernels::Seeds;
use std::fmt;

/// How the squared length is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// `Nqint8`: one of 256 levels.
    Byte,
    /// `Nqint4`: one of 16 levels.
    Nibble,
    /// `Nfloat`.
    Float,
    /// `Nnone`: not at all.
    None,
}

impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Byte => "Nqint8",
            Self::Nibble => "Nqint4",
            Self::Float => "Nfloat",
            Self::None => "Nnone",
        })
    }
}

impl Norm {
    /// Levels are always fitted, so faiss's words for evenly spaced and for fitted ones say the same.
    pub(super) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "Nqint8" | "Ncqint8" => Self::Byte,
            "Nqint4" | "Ncqint4" => Self::Nibble,
            "Nfloat" => Self::Float,
            "Nnone" => Self::None,
            _ => return None,
        })
    }

    fn levels(self) -> usize {
        match self {
            Self::Byte => 256,
            Self::Nibble => 16,
            Self::Float | Self::None => 0,
        }
    }
}

/// The levels of squared lengths, ascending; none where they are not kept as levels.
#[derive(Clone, Debug)]
pub(super) struct Norms(Vec<f32>);

impl Norms {
    pub(super) fn unused() -> Self {
        Self(Vec::new())
    }

    /// Levels that stand best for `lengths`, by k-means.
    pub(super) fn train(norm: Norm, lengths: &[f32], training: &Training<'_>) -> Result<Self, TrainError> {
        /// Lengths of which the levels are learnt: one number is soon known.
        const ENOUGH: usize = 1 << 15;
        let levels = norm.levels();
        if levels == 0 {
            return Ok(Self::unused());
        }
        let lengths = &lengths[..lengths.len().min(ENOUGH)];
        let (count, Training { seed, stop, .. }) = (levels.min(lengths.len()), *training);
        let mut values = cluster(lengths, 1, count, seed, 10, Seeds::PlusPlus, stop)?;
        values.sort_by(f32::total_cmp);
        let last = values[values.len() - 1];
        values.resize(levels, last);
        Ok(Self(values))
    }

    pub(super) fn restore(norm: Norm, arrays: &mut Arrays) -> Result<Self, RestoreError> {
        if norm.levels() == 0 {
            return Ok(Self::unused());
        }
        let values = arrays.f32("norms", &[norm.levels()])?;
        if values.is_sorted() {
            return Ok(Self(values));
        }
        Err(RestoreError::Value { name: "norms".into(), why: "does not ascend".into() })
    }

    pub(super) fn array(&self) -> Option<Array> {
        (!self.0.is_empty()).then(|| Array::f32("norms", &[self.0.len()], self.0.clone()))
    }

    /// The level nearest to `length`, the lower on a tie.
    pub(super) fn nearest(&self, length: f32) -> u8 {
        let after = self.0.partition_point(|&level| level < length).min(self.0.len() - 1);
        let before = after.saturating_sub(1);
        (if length - self.0[before] <= self.0[after] - length { before } else { after }) as u8
    }

    /// The squared length of level `i`; any byte is some level.
    pub(super) fn level(&self, i: usize) -> f32 {
        if self.0.is_empty() { 0.0 } else { self.0[i % self.0.len()] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_nearest_level() {
        let norms = Norms(vec![1.0, 2.0, 4.0]);
        let near = |length| norms.nearest(length);
        assert_eq!([near(0.0), near(1.5), near(1.6), near(3.5), near(9.0)], [0, 0, 1, 2, 2]);
        let trained = Norms::train(Norm::Nibble, &[5.0, 7.0, 5.0], &Training::seeded(1)).unwrap();
        assert_eq!((trained.0.len(), trained.level(trained.nearest(7.0) as usize)), (16, 7.0));
    }
}
