//! Numbers of lists that costs depend on too.

/// Lists visited where the request names no number: a thirty-second of them, but no fewer than this.
pub(crate) const PROBES: usize = 16;
/// Rows that codes are learnt from, at most.
pub(crate) const CODE_SAMPLE: usize = 1 << 17;
/// Rows a list that centroids are learnt from, at most.
pub(crate) const CENTROID_SAMPLE: usize = 64;
