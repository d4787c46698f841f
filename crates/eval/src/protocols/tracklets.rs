//! Tracklets of MARS: frames are pooled to one vector a tracklet, and tracklets are ranked.
//!
//! Two evaluations are in use and are not comparable:
//! - *official*: query tracklets stay in the gallery. The own-camera rule masks the query itself, while
//!   the person's query tracklet of another camera is a right answer. Junk (-1) is left out, distractors
//!   (0) stay, and average precision is by trapezoids.
//! - *torchreid*: query tracklets and junk are taken out of the gallery; standard average precision.
//!   More queries then lack a right answer.
//!
//! Sources: Zheng et al., "MARS", ECCV 2016, and its `evaluation_mars.m`; torchreid's `mars.py` and
//! `eval_market1501`. The official script divides by zero for a query without a right answer; such
//! queries are dropped and counted here, as torchreid does.

use super::re_id::ReIdTask;
use super::{Precision, ProtocolError, RankedScores, RankingOptions};
use crate::EvalError;
use data::{Metric, Rows};
use rayon::prelude::*;
use std::ops::Range;

/// How frames become one vector. Both end with unit length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The mean of the frames' unit vectors.
    Mean,
    /// The greatest value of each dimension, as in the official scripts.
    Max,
}

/// Which evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// That of `evaluation_mars.m`.
    Official,
    /// That of torchreid.
    Torchreid,
}

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct TrackletTask<'a> {
    /// Embeddings of frames, `frames x dim`.
    pub frames: Rows<'a, f32>,
    /// Frames of each tracklet, `tracklets`.
    pub tracklets: &'a [Range<usize>],
    /// How frames become one vector.
    pub pooling: Pooling,
    /// What ranks the answers.
    pub metric: Metric,
    /// Id of each tracklet, `tracklets`: 1 or more, 0 for a distractor, -1 for junk.
    pub ids: &'a [i32],
    /// Camera of each tracklet, `tracklets`.
    pub cameras: &'a [Option<u32>],
    /// Tracklets that ask; the gallery follows from the variant.
    pub queries: &'a [usize],
    /// Which evaluation.
    pub variant: Variant,
}

impl TrackletTask<'_> {
    /// The protocol's id, for example `mars/official/max-pooled/matlab-ap/v1`.
    #[must_use]
    pub fn protocol_id(&self) -> String {
        let (variant, precision) = match self.variant {
            Variant::Official => ("official", Precision::Trapezoid),
            Variant::Torchreid => ("torchreid", Precision::Standard),
        };
        let pooling = match self.pooling {
            Pooling::Mean => "mean-pooled",
            Pooling::Max => "max-pooled",
        };
        format!("mars/{variant}/{pooling}/{}/v1", precision.name())
    }
}

/// One unit vector a tracklet, `tracklets x dim`; a vector of zeros stays one.
///
/// # Errors
/// When a tracklet has no frames or frames that do not exist.
pub fn pool(
    frames: Rows<'_, f32>,
    tracklets: &[Range<usize>],
    pooling: Pooling,
) -> Result<Vec<f32>, ProtocolError> {
    for (tracklet, range) in tracklets.iter().enumerate() {
        if range.is_empty() || range.end > frames.len() {
            let (start, end) = (range.start, range.end);
            return Err(ProtocolError::Frames { tracklet, start, end, frames: frames.len() });
        }
    }
    let dim = frames.dim();
    let mut pooled = vec![0.0f32; tracklets.len() * dim];
    pooled.par_chunks_mut(dim).zip(tracklets).for_each(|(out, range)| {
        let mut values = vec![if pooling == Pooling::Max { f64::NEG_INFINITY } else { 0.0 }; dim];
        for frame in range.clone() {
            let row = frames.row(frame);
            let scale = if pooling == Pooling::Mean { unit(row.iter().map(|&v| f64::from(v))) } else { 1.0 };
            for (value, &more) in values.iter_mut().zip(row) {
                let more = f64::from(more) * scale;
                *value = if pooling == Pooling::Max { value.max(more) } else { *value + more };
            }
        }
        let scale = unit(values.iter().copied());
        out.iter_mut().zip(values).for_each(|(out, value)| *out = (value * scale) as f32);
    });
    Ok(pooled)
}

/// What scales a vector to unit length.
fn unit(values: impl Iterator<Item = f64>) -> f64 {
    let norm = values.map(|value| value * value).sum::<f64>().sqrt();
    if norm > 0.0 { 1.0 / norm } else { 0.0 }
}

/// Pools and measures `task` exactly, on the caller's rayon pool; `query` of each score is the tracklet.
///
/// Uses `4 x tracklets x dim` bytes beside `options.memory`.
///
/// # Errors
/// When the task does not fit together, a query has an id below 1, a camera is unknown, or no query can
/// succeed.
pub fn tracklets(task: &TrackletTask<'_>, options: &RankingOptions) -> Result<RankedScores, ProtocolError> {
    let frames = task.frames.as_slice();
    if let Some(place) = frames.iter().position(|value| !value.is_finite()) {
        return Err(EvalError::NotFinite { row: place / task.frames.dim() }.into());
    }
    let pooled = pool(task.frames, task.tracklets, task.pooling)?;
    let Ok(rows) = Rows::new(&pooled, task.frames.dim()) else {
        return Err(ProtocolError::EmptyGallery);
    };
    let mut asks = vec![false; rows.len()];
    for &query in task.queries {
        match asks.get_mut(query) {
            Some(asks) => *asks = true,
            None => {
                return Err(EvalError::NoRow { what: "queries", row: query, pictures: rows.len() }.into());
            }
        }
    }
    let official = task.variant == Variant::Official;
    let junk = |row: usize| task.ids.get(row).is_some_and(|&id| id < 0);
    let gallery: Vec<usize> = (0..rows.len()).filter(|&row| official || !(asks[row] || junk(row))).collect();
    if gallery.is_empty() {
        return Err(ProtocolError::EmptyGallery);
    }
    let ranked = ReIdTask {
        rows,
        metric: task.metric,
        ids: task.ids,
        cameras: task.cameras,
        queries: task.queries,
        gallery: &gallery,
        precision: if official { Precision::Trapezoid } else { Precision::Standard },
    };
    ranked.check()?;
    ranked.measure(options, task.protocol_id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_by_hand() {
        let frames = [3.0, 4.0, 0.0, 2.0, 0.0, 0.0];
        let rows = Rows::new(&frames, 2).unwrap();
        let close = |got: Vec<f32>, want: [f64; 4]| {
            assert!(got.iter().zip(want).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6), "{got:?}");
        };
        // Unit vectors (.6, .8) and (0, 1): their sum (.6, 1.8) is sqrt(3.6) long.
        let long = 3.6f64.sqrt();
        close(pool(rows, &[0..2, 2..3], Pooling::Mean).unwrap(), [0.6 / long, 1.8 / long, 0.0, 0.0]);
        close(pool(rows, &[0..2, 2..3], Pooling::Max).unwrap(), [0.6, 0.8, 0.0, 0.0]);
        for range in [1..1, 2..4] {
            assert!(matches!(pool(rows, &[range], Pooling::Mean), Err(ProtocolError::Frames { .. })));
        }
    }

    #[test]
    fn the_variants_differ_in_the_gallery() {
        // Angles of one-frame tracklets; 0 and 1 ask and are one person under two cameras.
        let angles = [0.0f32, 0.1, 0.2, 0.3, 0.05, 0.4];
        let frames: Vec<f32> = angles.iter().flat_map(|angle| [angle.cos(), angle.sin()]).collect();
        let ranges: Vec<Range<usize>> = (0..6).map(|i| i..i + 1).collect();
        let task = |variant| TrackletTask {
            frames: Rows::new(&frames, 2).unwrap(),
            tracklets: &ranges,
            pooling: Pooling::Max,
            metric: Metric::Dot,
            ids: &[5, 5, 0, 5, -1, 9],
            cameras: &[Some(1), Some(2), Some(1), Some(2), Some(1), Some(1)],
            queries: &[0, 1],
            variant,
        };
        let options = RankingOptions::default();
        let official = tracklets(&task(Variant::Official), &options).unwrap();
        // From 0: tracklet 1 (right), 2 (distractor), 3 (right). From 1: 0 and 2 are equally near in angle;
        // 0 is the only right answer, since 3 shares the camera.
        assert_eq!((official.queries, official.per_query[0].relevant), (2, 2));
        assert_eq!(official.per_query[0].first_right, 1);
        // (1 + (1/2 + 2/3) / 2) / 2
        assert!((official.per_query[0].average_precision - 19.0 / 24.0).abs() < 1e-12);
        assert_eq!(official.protocol, "mars/official/max-pooled/matlab-ap/v1");
        let torchreid = tracklets(&task(Variant::Torchreid), &options).unwrap();
        // From 0: 2, then 3 (right); query 1 has no right answer left.
        assert_eq!((torchreid.queries, torchreid.dropped_queries), (1, 1));
        assert!((torchreid.map.value - 0.5).abs() < 1e-12);
        assert_eq!(torchreid.protocol, "mars/torchreid/max-pooled/standard-ap/v1");
    }
}
