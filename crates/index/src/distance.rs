//! The metric as distances that rank: smaller is nearer.

use data::Metric;
use kernels::Isa;

/// A metric on the instruction set of this machine, fetched once a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distance {
    isa: Isa,
    metric: Metric,
}

impl Distance {
    pub(crate) fn new(metric: Metric) -> Self {
        Self { isa: Isa::current(), metric }
    }

    /// The distance of two vectors.
    #[inline]
    pub(crate) fn pair(self, a: &[f32], b: &[f32]) -> f32 {
        match self.metric {
            Metric::L2 => self.isa.l2(a, b),
            Metric::Dot => negated(self.isa.dot(a, b)),
        }
    }

    /// The distances of `query` to the rows `ids`.
    #[inline]
    pub(crate) fn at(self, query: &[f32], rows: &[f32], ids: &[u32], out: &mut [f32]) {
        match self.metric {
            Metric::L2 => self.isa.l2s_at(query, rows, ids, out),
            Metric::Dot => {
                self.isa.dots_at(query, rows, ids, out);
                out.iter_mut().for_each(|d| *d = negated(*d));
            }
        }
    }

    /// The distances of every query to every row: queries x rows.
    pub(crate) fn tile(self, queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
        match self.metric {
            Metric::L2 => self.isa.l2_tile(queries, rows, dim, out),
            Metric::Dot => {
                self.isa.dot_tile(queries, rows, dim, out);
                out.iter_mut().for_each(|d| *d = negated(*d));
            }
        }
    }
}

/// `-dot` without a negative zero, which would sort before zero.
#[inline]
fn negated(dot: f32) -> f32 {
    0.0 - dot
}
