//! Persons or vehicles under several cameras: Market-1501, DukeMTMC-reID, VeRi-776.
//!
//! Ids are 1 or more; 0 marks a distractor, always wrong; -1 marks junk, which is in no gallery. A
//! query's gallery leaves out answers of its own id under its own camera. CMC@k is the share of queries
//! with a right answer among the k nearest (every right picture stays: not the single-shot CMC of CUHK03).
//! Sources: Zheng et al., "Scalable person re-identification", ICCV 2015, and its Matlab script
//! ([`Precision::Trapezoid`]); torchreid's `eval_market1501` ([`Precision::Standard`]). The Matlab script
//! divides by zero for a query without a right answer; torchreid skips it, and so does this.

use super::places::{Contest, Part};
use super::scores::{measure, most_alike, refuse_overlap};
use super::{Precision, ProtocolError, RankedScores, RankingOptions};
use crate::EvalError;
use crate::retrieval::check_members;
use data::{Metric, Rows};

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct ReIdTask<'a> {
    /// Embeddings, `pictures x dim`.
    pub rows: Rows<'a, f32>,
    /// What ranks the answers.
    pub metric: Metric,
    /// Id of each picture, `pictures`: 1 or more, 0 for a distractor, -1 for junk.
    pub ids: &'a [i32],
    /// Camera of each picture, `pictures`; only junk and distractors may do without.
    pub cameras: &'a [Option<u32>],
    /// Row numbers that ask.
    pub queries: &'a [usize],
    /// Row numbers that answer; none of the queries.
    pub gallery: &'a [usize],
    /// Which average precision.
    pub precision: Precision,
}

impl ReIdTask<'_> {
    /// The protocol's id, `re-id/same-camera-excluded/standard-ap/v1` or `../matlab-ap/v1`.
    #[must_use]
    pub fn protocol_id(&self) -> String {
        format!("re-id/same-camera-excluded/{}/v1", self.precision.name())
    }

    /// Lists fit, ids mean something, and cameras are known where they matter.
    pub(crate) fn check(&self) -> Result<(), ProtocolError> {
        let pictures = self.rows.len();
        for (what, len) in [("ids", self.ids.len()), ("cameras", self.cameras.len())] {
            if len != pictures {
                return Err(EvalError::Lengths { what, len, pictures }.into());
            }
        }
        check_members(self.rows, self.queries, self.gallery)?;
        if let Some(&row) = self.queries.iter().find(|&&row| self.ids[row] < 1) {
            return Err(ProtocolError::QueryId { row, id: self.ids[row] });
        }
        for &row in self.queries.iter().chain(self.gallery) {
            if self.ids[row] < -1 {
                return Err(ProtocolError::Id { row, id: self.ids[row] });
            }
            if self.ids[row] > 0 && self.cameras[row].is_none() {
                return Err(ProtocolError::NoCamera { row });
            }
        }
        Ok(())
    }

    pub(crate) fn part(&self, query: usize, row: usize) -> Part {
        if self.ids[row] < 0 {
            Part::Out
        } else if self.ids[row] != self.ids[query] {
            Part::Wrong
        } else if self.cameras[row] == self.cameras[query] {
            Part::Out
        } else {
            Part::Right
        }
    }

    pub(crate) fn measure(
        &self,
        options: &RankingOptions,
        protocol: String,
    ) -> Result<RankedScores, ProtocolError> {
        let contest = Contest {
            rows: self.rows,
            metric: self.metric,
            queries: self.queries,
            gallery: self.gallery,
            most_right: most_alike(self.ids, self.gallery),
        };
        let part = |query, row| self.part(query, row);
        measure(&contest, self.ids, self.precision, part, options, protocol)
    }
}

/// Measures `task` exactly, on the caller's rayon pool.
///
/// # Errors
/// When the task does not fit together, a query is in the gallery, has an id below 1 or an unknown
/// camera, or when no query can succeed.
pub fn re_id(task: &ReIdTask<'_>, options: &RankingOptions) -> Result<RankedScores, ProtocolError> {
    task.check()?;
    refuse_overlap(task.rows.len(), task.queries, task.gallery)?;
    task.measure(options, task.protocol_id())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [f32; 8] = [0.0, 100.0, 0.5, 0.6, 1.0, 2.0, 3.0, 0.1];

    fn task(precision: Precision) -> ReIdTask<'static> {
        ReIdTask {
            rows: Rows::new(&VALUES, 1).unwrap(),
            metric: Metric::L2,
            ids: &[7, 8, 7, -1, 7, 0, 7, 8],
            cameras: &[Some(1), Some(1), Some(1), None, Some(2), None, Some(3), Some(1)],
            queries: &[0, 1],
            gallery: &[2, 3, 4, 5, 6, 7],
            precision,
        }
    }

    #[test]
    fn the_own_camera_and_junk_are_left_out_by_hand() {
        let options = RankingOptions::default();
        // Query 0 meets 0.1 (wrong), [0.5 own camera], [0.6 junk], 1 (right), 2 (distractor), 3 (right);
        // query 1 has only an answer of its own camera.
        let got = re_id(&task(Precision::Standard), &options).unwrap();
        assert_eq!((got.queries, got.dropped_queries), (1, 1));
        assert_eq!((got.per_query[0].first_right, got.per_query[0].relevant), (2, 2));
        assert!((got.map.value - 0.5).abs() < 1e-12); // (1/2 + 2/4) / 2
        assert_eq!(got.protocol, "re-id/same-camera-excluded/standard-ap/v1");
        let matlab = re_id(&task(Precision::Trapezoid), &options).unwrap();
        // ((0 + 1/2) / 2 + (1/3 + 2/4) / 2) / 2
        assert!((matlab.map.value - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(matlab.protocol, "re-id/same-camera-excluded/matlab-ap/v1");
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        let options = RankingOptions::default();
        let good = task(Precision::Standard);
        assert_eq!(
            re_id(&ReIdTask { queries: &[3], gallery: &[4], ..good }, &options),
            Err(ProtocolError::QueryId { row: 3, id: -1 })
        );
        let mut cameras = good.cameras.to_vec();
        cameras[6] = None;
        assert_eq!(
            re_id(&ReIdTask { cameras: &cameras, ..good }, &options),
            Err(ProtocolError::NoCamera { row: 6 })
        );
        assert!(re_id(&ReIdTask { gallery: &[0, 4], ..good }, &options).unwrap_err().is_leak());
        assert!(matches!(re_id(&ReIdTask { ids: &[1], ..good }, &options), Err(ProtocolError::Task(_))));
    }
}
