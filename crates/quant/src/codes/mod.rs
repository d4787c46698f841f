//! The registry of codes: one line each.
//!
//! Bytes a vector of `d` values:
//!
//! | word | bytes | what it is |
//! |---|---|---|
//! | `Flat` | `4 d` | the vectors |
//! | `F16`, `BF16` | `2 d` | sixteen-bit floats |
//! | `SQ8`, `SQ6`, `SQ4`, `SQ8U`, .. | `d b / 8` | steps of a range a dimension, or of one |
//! | `LVQ8`, `LVQ4x8`, .. | `d (b + b2) / 8 + 4` | steps of a range a vector, in two levels |
//! | `Bits` | `d / 8` | signs |
//! | `PQ16`, `PQ16x4`, `PQ8x8_SDC`, .. | `m b / 8` | centroids of sub-spaces |
//! | `PQ32x4fs` | `m / 2` | the same, scanned in registers |
//! | `APQ32x4fs_T0.2` | `m / 2` | the same, for inner products |
//! | `PQ16x8ht54` | `m` | the same, behind a gate of differing bits |
//! | `RQ8x8`, `AQ8x8`, `LSQ8x8`, `PRQ2x4x8`, `PLSQ2x4x8` | `m b / 8 + 1` | sums of entries of books |
//! | `NOCQ8x8` | `m b / 8` | the same, without a norm |
//! | `RaBitQ`, `RaBitQ4`, .. | `d b / 8 + 12`, or `+ 20` from two bits on | signs of a rotation, with a bound of the error |

mod additive;
mod anisotropic;
mod full;
mod half;
mod lvq;
mod polysemous;
mod pq;
mod pq_fast_scan;
mod rabitq;
mod scalar;
mod sign;

pub use additive::{Additive, AdditiveConfig, Method, Norm};
pub use anisotropic::{Anisotropic, AnisotropicConfig};
pub use full::{Full, FullConfig};
pub use half::{Half, HalfConfig};
pub use lvq::{Lvq, LvqConfig};
pub use polysemous::{Polysemous, PolysemousConfig};
pub(crate) use pq::parts_and_bits;
pub use pq::{Pq, PqConfig};
pub use pq_fast_scan::{PqFastScan, PqFastScanConfig};
pub use rabitq::{RaBitQ, RaBitQConfig};
pub use scalar::{Scalar, ScalarConfig};
pub use sign::{Sign, SignConfig};

use crate::{Arrays, Codec, Config, ParseSpecError, RestoreError, TrainError, Training};
use data::Rows;
use std::fmt;

/// Makes the enum of all codes from one line a code.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident($config:ty),)+) => {
        /// A code and its settings.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Code {
            $($(#[$doc])* $name($config),)+
        }

        impl Code {
            /// A word of every kind that parses.
            pub const EXAMPLES: &'static [&'static [&'static str]] = &[$(<$config as Config>::EXAMPLES),+];

            /// Reads one word of a spec.
            ///
            /// # Errors
            /// When no code has that name, or its settings are not possible.
            pub fn parse(word: &str) -> Result<Self, ParseSpecError> {
                $(if let Some(config) = <$config as Config>::parse(word) {
                    return config.map(Self::$name);
                })+
                let known = Self::EXAMPLES.iter().map(|words| words[0]).collect::<Vec<_>>().join(", ");
                Err(ParseSpecError::Unknown { word: word.into(), kind: "code", known })
            }

            /// Learns the code from `rows`, `n x dim`.
            ///
            /// # Errors
            /// When the rows are too few, of the wrong dimension or say nothing.
            pub fn train(
                &self,
                rows: Rows<'_, f32>,
                training: &Training<'_>,
            ) -> Result<Box<dyn Codec>, TrainError> {
                Ok(match self { $(Self::$name(config) => Box::new(config.train(rows, training)?),)+ })
            }

            /// The trained code from what [`Codec::arrays`] gave.
            ///
            /// # Errors
            /// When the arrays are not those of this code.
            pub fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<Box<dyn Codec>, RestoreError> {
                Ok(match self { $(Self::$name(config) => Box::new(config.restore(dim, arrays)?),)+ })
            }
        }

        impl fmt::Display for Code {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $(Self::$name(config) => config.fmt(f),)+ }
            }
        }
    };
}

codes! {
    /// The vectors as they are.
    Full(FullConfig),
    /// Sixteen-bit floats.
    Half(HalfConfig),
    /// Each value in steps of a range.
    Scalar(ScalarConfig),
    /// Each value in steps of its vector's range.
    Lvq(LvqConfig),
    /// The sign of each value.
    Sign(SignConfig),
    /// Centroids of sub-spaces.
    Pq(PqConfig),
    /// Sixteen centroids of each sub-space, scanned in registers.
    PqFastScan(PqFastScanConfig),
    /// The same, learnt for inner products.
    Anisotropic(AnisotropicConfig),
    /// Centroids of sub-spaces, numbered so that differing bits tell of distance.
    Polysemous(PolysemousConfig),
    /// Sums of entries of books.
    Additive(AdditiveConfig),
    /// One to eight bits of each value after a rotation, with a bound of the distance.
    RaBitQ(RaBitQConfig),
}
