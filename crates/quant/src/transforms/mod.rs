//! The registry of transforms: one line each.

mod affine;
mod augment;
mod centre;
mod hadamard;
mod itq;
mod normalise;
mod opq;
mod pad;
mod pca;
mod rotation;

pub use affine::Affine;
pub use augment::{Augment, AugmentConfig};
pub(crate) use centre::mean;
pub use centre::{Centre, CentreConfig};
pub use hadamard::{Hadamard, HadamardConfig};
pub use itq::ItqConfig;
pub use normalise::{Normalise, NormaliseConfig};
pub use opq::OpqConfig;
pub use pad::{Pad, PadConfig};
pub(crate) use pca::components;
pub use pca::{PcaConfig, Then};
pub use rotation::RotationConfig;

use crate::{Array, Arrays, ParseSpecError, RestoreError, TrainError, Training};
use data::{Metric, Rows};
use std::fmt::{self, Display};

/// The settings of a transform as a spec names them.
pub trait TransformConfig: Display + Sized {
    /// What training makes.
    type Transform: Transform + 'static;

    /// Words that this config prints and parses, for tests that run over every transform.
    const EXAMPLES: &'static [&'static str];

    /// Reads one word of a spec; none when the word names another transform.
    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>>;

    /// Learns the transform from `rows`, `n x dim`.
    ///
    /// # Errors
    /// When the rows are too few, of the wrong dimension or say nothing.
    fn train(&self, rows: Rows<'_, f32>, training: &Training<'_>) -> Result<Self::Transform, TrainError>;

    /// The trained transform from what [`Transform::arrays`] gave; the file may lie about anything.
    ///
    /// # Errors
    /// When an array is missing or has another shape than `dim` and the settings say.
    fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<Self::Transform, RestoreError>;
}

/// A map of vectors, learnt and then fixed.
pub trait Transform: Send + Sync {
    /// Values a vector has before.
    fn dim_in(&self) -> usize;

    /// Values a vector has after.
    fn dim_out(&self) -> usize;

    /// Writes the images of `rows` to `out`, `rows.len() x dim_out`, on the calling thread.
    fn apply(&self, rows: Rows<'_, f32>, out: &mut [f32]);

    /// Writes what a query becomes, and how distances to images compare with those before.
    ///
    /// They agree up to what the transform takes away: exactly where it is a rotation or a shift, while
    /// a projection, whitening or normalising measures in its own space.
    fn query(&self, query: &[f32], metric: Metric, out: &mut [f32]) -> Frame;

    /// Writes the vectors nearest to those that gave `rows` (`n x dim_out`) to `out`, `n x dim_in`; what
    /// the transform took away (a length, a dropped axis) is not there any more.
    fn reverse(&self, rows: Rows<'_, f32>, out: &mut [f32]);

    /// What was learnt, to be saved.
    fn arrays(&self) -> Vec<Array>;
}

/// How distances are measured after a transform.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// What compares a transformed query with transformed vectors.
    pub metric: Metric,
    /// Added to a distance there, it is the distance before.
    pub offset: f32,
}

/// Makes the enum of all transforms from one line each.
macro_rules! transforms {
    ($($(#[$doc:meta])* $name:ident($config:ty),)+) => {
        /// A transform and its settings.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Change {
            $($(#[$doc])* $name($config),)+
        }

        impl Change {
            /// A word of every kind that parses.
            pub const EXAMPLES: &'static [&'static [&'static str]] =
                &[$(<$config as TransformConfig>::EXAMPLES),+];

            /// Reads one word of a spec.
            ///
            /// # Errors
            /// When no transform has that name, or its settings are not possible.
            pub fn parse(word: &str) -> Result<Self, ParseSpecError> {
                $(if let Some(config) = <$config as TransformConfig>::parse(word) {
                    return config.map(Self::$name);
                })+
                let known = Self::EXAMPLES.iter().map(|words| words[0]).collect::<Vec<_>>().join(", ");
                Err(ParseSpecError::Unknown { word: word.into(), kind: "transform", known })
            }

            /// Learns the transform from `rows`, `n x dim`.
            ///
            /// # Errors
            /// When the rows are too few, of the wrong dimension or say nothing.
            pub fn train(
                &self,
                rows: Rows<'_, f32>,
                training: &Training<'_>,
            ) -> Result<Box<dyn Transform>, TrainError> {
                Ok(match self { $(Self::$name(config) => Box::new(config.train(rows, training)?),)+ })
            }

            /// The trained transform from what [`Transform::arrays`] gave.
            ///
            /// # Errors
            /// When the arrays are not those of this transform.
            pub fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<Box<dyn Transform>, RestoreError> {
                Ok(match self { $(Self::$name(config) => Box::new(config.restore(dim, arrays)?),)+ })
            }
        }

        impl Display for Change {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $(Self::$name(config) => config.fmt(f),)+ }
            }
        }
    };
}

transforms! {
    /// The mean moved to the origin.
    Centre(CentreConfig),
    /// Every vector scaled to length one.
    Normalise(NormaliseConfig),
    /// Principal components.
    Pca(PcaConfig),
    /// A random rotation.
    Rotation(RotationConfig),
    /// A random rotation by Hadamard transforms.
    Hadamard(HadamardConfig),
    /// The rotation for product codes.
    Opq(OpqConfig),
    /// Zeros behind the values.
    Pad(PadConfig),
    /// Principal components turned so that signs lose least.
    Itq(ItqConfig),
    /// One value more, for inner products by squared distances.
    Augment(AugmentConfig),
}
