//! The distance that ranks answers. Inside the system smaller is nearer, always.

use serde::{Deserialize, Serialize};

/// How two vectors are compared. Distances are oriented so that smaller is nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Squared Euclidean distance, `sum((a - b)^2)`.
    L2,
    /// Negated inner product, `-sum(a * b)`. Cosine similarity is `Dot` on normalised rows.
    Dot,
}

impl Metric {
    /// The score shown to people for a distance: higher is better for every metric.
    ///
    /// `Dot` gives the inner product (the cosine on normalised rows), `L2` gives `1 / (1 + distance)`.
    #[must_use]
    pub fn score(self, distance: f32) -> f32 {
        match self {
            Self::L2 => 1.0 / (1.0 + distance),
            Self::Dot => -distance,
        }
    }
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::L2 => "l2",
            Self::Dot => "dot",
        })
    }
}
