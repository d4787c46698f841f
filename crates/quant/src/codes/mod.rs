//! The registry of codes: one line each.

mod full;

pub use full::{Full, FullConfig};

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
}
