//! Persons found in whole frames: CUHK-SYSU and PRW.
//!
//! Each probe has a list of gallery frames, some of which show its person. A detector's boxes in those
//! frames are ranked by inner product with the probe (descending). In a frame that shows the person, the
//! most similar box that overlaps the true one is right, every other box is wrong. Boxes overlap when
//! their intersection over union is at least `min(0.5, w h / ((w + 10)(h + 10)))` for a true box of
//! `w x h`: small boxes need less. Average precision is multiplied by the share of true boxes that were
//! detected. Boxes of equal similarity share the precision after all of them, as in scikit-learn; for
//! top-k they stand in the order of frames, then of boxes.
//! Source: Xiao et al., "Joint detection and identification feature learning", CVPR 2017, and its
//! evaluation script (gallery of 100; PRW: every other frame).

use super::scores::sum_up;
use super::{ProtocolError, QueryScore, RankedScores, RankingOptions};
use crate::EvalError;
use crate::retrieval::cuts;
use data::Rows;
use rayon::prelude::*;

/// The protocol's id.
pub const ID: &str = "person-search/iou-0.5/recall-scaled-ap/v1";

/// Left, top, right, bottom, in pixels.
pub type Corners = [f32; 4];

/// A detected box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Where it is.
    pub corners: Corners,
    /// The detector's confidence.
    pub score: f32,
}

/// A frame of a probe's gallery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shown {
    /// Number of the frame.
    pub frame: usize,
    /// Where the probe's person is in it, if it is.
    pub truth: Option<Corners>,
}

/// One query.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Its person, for the intervals.
    pub person: i32,
    /// The frame it was cut from, which may not be in its gallery.
    pub frame: usize,
    /// Its gallery.
    pub gallery: Vec<Shown>,
}

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct SearchTask<'a> {
    /// Unit vectors of the probes, `probes x dim`.
    pub probe_rows: Rows<'a, f32>,
    /// The probes, in the order of their vectors.
    pub probes: &'a [Probe],
    /// Unit vectors of the detections, `detections x dim`, frame after frame.
    pub rows: Rows<'a, f32>,
    /// The detections, in the order of their vectors.
    pub detections: &'a [Detection],
    /// Where each frame's detections end, `frames`; the last is `detections.len()`.
    pub ends: &'a [usize],
    /// Detections of less confidence are left out; 0.5 in the script.
    pub threshold: f32,
}

/// Share of the area of two boxes that both cover, 0 to 1.
#[must_use]
pub fn overlap(a: Corners, b: Corners) -> f64 {
    let [a, b] = [a, b].map(|corners| corners.map(f64::from));
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let area = |c: [f64; 4]| (c[2] - c[0]) * (c[3] - c[1]);
    width * height / (area(a) + area(b) - width * height)
}

/// The overlap that a detection of `truth` needs.
fn needed(truth: Corners) -> f64 {
    let [left, top, right, bottom] = truth.map(f64::from);
    let (width, height) = (right - left, bottom - top);
    (width * height / ((width + 10.0) * (height + 10.0))).min(0.5)
}

/// Measures `task` exactly, on the caller's rayon pool; `query` of each score is the probe, and
/// `relevant` its true boxes. Probes whose person is in no frame of their gallery are dropped and
/// counted; a probe whose true boxes were all missed counts with nothing found (its `first_right` is
/// `usize::MAX`).
///
/// Memory: 24 bytes for each detection of one probe's gallery, a thread.
///
/// # Errors
/// When the task does not fit together, a probe's own frame is in its gallery, a value is not finite, a
/// box has no area, or no probe can succeed.
pub fn person_search(task: &SearchTask<'_>, options: &RankingOptions) -> Result<RankedScores, ProtocolError> {
    let cuts = cuts(&options.cuts)?;
    task.check()?;
    let found: Vec<Option<QueryScore>> =
        (0..task.probes.len()).into_par_iter().map(|probe| task.score(probe)).collect();
    let per_query: Vec<QueryScore> = found.into_iter().flatten().collect();
    if per_query.is_empty() {
        return Err(ProtocolError::NoQueries { queries: task.probes.len() });
    }
    let dropped = task.probes.len() - per_query.len();
    Ok(sum_up(per_query, dropped, &cuts, options, ID.to_owned()))
}

impl SearchTask<'_> {
    fn check(&self) -> Result<(), ProtocolError> {
        let detections = self.rows.len();
        for (what, len, pictures) in [
            ("probes", self.probes.len(), self.probe_rows.len()),
            ("detections", self.detections.len(), detections),
            ("values of a detection", self.rows.dim(), self.probe_rows.dim()),
        ] {
            if len != pictures {
                return Err(EvalError::Lengths { what, len, pictures }.into());
            }
        }
        let end = self.ends.last().copied().unwrap_or(0);
        if end != detections || self.ends.windows(2).any(|pair| pair[0] > pair[1]) {
            return Err(
                EvalError::Lengths { what: "detections in frames", len: end, pictures: detections }.into()
            );
        }
        for (what, rows) in [("probe", self.probe_rows), ("detection", self.rows)] {
            let bad = (0..rows.len()).find(|&i| !kernels::dot(rows.row(i), rows.row(i)).is_finite());
            if let Some(place) = bad {
                return Err(ProtocolError::NotFinite { what, place });
            }
        }
        for (place, detection) in self.detections.iter().enumerate() {
            if !detection.score.is_finite() {
                return Err(ProtocolError::NotFinite { what: "the score of detection", place });
            }
            check_box("detection", place, detection.corners)?;
        }
        for (place, probe) in self.probes.iter().enumerate() {
            for shown in &probe.gallery {
                if shown.frame >= self.ends.len() {
                    let (row, pictures) = (shown.frame, self.ends.len());
                    return Err(EvalError::NoRow { what: "gallery", row, pictures }.into());
                }
                if shown.frame == probe.frame {
                    return Err(ProtocolError::Leak { row: probe.frame });
                }
                if let Some(truth) = shown.truth {
                    check_box("the true box of probe", place, truth)?;
                }
            }
            let mut frames: Vec<usize> = probe.gallery.iter().map(|shown| shown.frame).collect();
            frames.sort_unstable();
            if let Some(pair) = frames.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(EvalError::Twice { what: "gallery", row: pair[0] }.into());
            }
        }
        Ok(())
    }

    /// The detections of a frame that are confident enough, with their similarity to the probe.
    fn candidates(&self, frame: usize, probe: usize) -> Vec<(f32, usize)> {
        let start = if frame == 0 { 0 } else { self.ends[frame - 1] };
        (start..self.ends[frame])
            .filter(|&i| self.detections[i].score >= self.threshold)
            .map(|i| (kernels::dot(self.rows.row(i), self.probe_rows.row(probe)), i))
            .collect()
    }

    fn score(&self, number: usize) -> Option<QueryScore> {
        let probe = &self.probes[number];
        let relevant = probe.gallery.iter().filter(|shown| shown.truth.is_some()).count();
        if relevant == 0 {
            return None;
        }
        let mut ranked: Vec<(f32, bool)> = Vec::new();
        for shown in &probe.gallery {
            let mut candidates = self.candidates(shown.frame, number);
            // Most similar first; equals by number.
            candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let right = shown.truth.and_then(|truth| {
                let hit =
                    |&(_, i): &(f32, usize)| overlap(self.detections[i].corners, truth) >= needed(truth);
                candidates.iter().position(hit)
            });
            let marked = candidates.iter().enumerate();
            ranked.extend(marked.map(|(i, &(similarity, _))| (similarity, Some(i) == right)));
        }
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        Some(QueryScore {
            query: number,
            id: probe.person,
            relevant,
            first_right: ranked.iter().position(|(_, right)| *right).map_or(usize::MAX, |place| place + 1),
            average_precision: precision_with_ties(&ranked, relevant),
            tied: ranked.chunk_by(|a, b| a.0 == b.0).any(|equals| {
                equals.iter().any(|(_, right)| *right) && equals.iter().any(|(_, right)| !right)
            }),
        })
    }
}

fn check_box(what: &'static str, place: usize, corners: Corners) -> Result<(), ProtocolError> {
    if corners.iter().any(|corner| !corner.is_finite()) {
        return Err(ProtocolError::NotFinite { what, place });
    }
    if corners[2] <= corners[0] || corners[3] <= corners[1] {
        return Err(ProtocolError::Box { what, place });
    }
    Ok(())
}

/// Average precision times the share of `relevant` that is in the list at all: the sum, over groups of
/// equal similarity, of right answers in the group times the precision after it, divided by `relevant`.
fn precision_with_ties(ranked: &[(f32, bool)], relevant: usize) -> f64 {
    let (mut place, mut hits, mut sum) = (0usize, 0usize, 0.0);
    for equals in ranked.chunk_by(|a, b| a.0 == b.0) {
        let right = equals.iter().filter(|(_, right)| *right).count();
        (place, hits) = (place + equals.len(), hits + right);
        sum += right as f64 * hits as f64 / place as f64;
    }
    sum / relevant as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detection(left: f32, score: f32) -> Detection {
        Detection { corners: [left, 0.0, left + 40.0, 90.0], score }
    }

    const TRUTH: Option<Corners> = Some([0.0, 0.0, 40.0, 90.0]);

    #[test]
    fn overlaps_by_hand() {
        assert_eq!(overlap([0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0]), 2.0 / 6.0);
        assert_eq!(overlap([0.0, 0.0, 1.0, 1.0], [5.0, 0.0, 6.0, 1.0]), 0.0);
        assert_eq!(needed([0.0, 0.0, 40.0, 90.0]), 0.5); // 3600 / 5000 is more
        assert_eq!(needed([0.0, 0.0, 10.0, 10.0]), 0.25);
    }

    #[test]
    fn equals_share_the_precision_after_them() {
        // Two equals, one right, then a right one: (1 * 1/2 + 1 * 2/3) / 4 with two of four detected.
        let ranked = [(0.9, true), (0.9, false), (0.1, true)];
        assert!((precision_with_ties(&ranked, 4) - (0.5 + 2.0 / 3.0) / 4.0).abs() < 1e-12);
    }

    #[test]
    fn a_search_by_hand() {
        // Frame 0 is the probe's. Frame 1: the person at 0, found twice (.6, .8), and a stranger (.9).
        // Frame 2: a stranger (.7) and a doubtful box (1.0, left out). Frame 3: the person, not detected.
        let similarities = [1.0, 0.6, 0.8, 0.9, 0.7, 1.0];
        let rows: Vec<f32> = similarities.iter().flat_map(|&s| [s, 1.0 - s]).collect();
        let detections = [
            detection(0.0, 0.9),
            detection(0.0, 0.9),
            detection(5.0, 0.9),
            detection(200.0, 0.9),
            detection(0.0, 0.9),
            detection(0.0, 0.2),
        ];
        let shown = |frame, truth| Shown { frame, truth };
        let mut probes = [
            Probe { person: 4, frame: 0, gallery: vec![shown(1, TRUTH), shown(2, None), shown(3, TRUTH)] },
            Probe { person: 5, frame: 0, gallery: vec![shown(2, None)] },
        ];
        let probe_rows = [1.0, 0.0, 1.0, 0.0];
        let run = |probes: &[Probe]| {
            let task = SearchTask {
                probe_rows: Rows::new(&probe_rows, 2).unwrap(),
                probes,
                rows: Rows::new(&rows, 2).unwrap(),
                detections: &detections,
                ends: &[1, 4, 6, 6],
                threshold: 0.5,
            };
            person_search(&task, &RankingOptions { cuts: vec![1, 2], ..RankingOptions::default() })
        };
        // Ranked: .9 wrong, .8 right, .7 wrong, .6 wrong (the person is found once a frame);
        // precision 1/2, half of the true boxes detected: 1/4.
        let got = run(&probes).unwrap();
        assert_eq!((got.queries, got.dropped_queries), (1, 1));
        assert!((got.map.value - 0.25).abs() < 1e-12);
        assert_eq!(got.cmc.iter().map(|(_, top)| top.value).collect::<Vec<_>>(), [0.0, 1.0]);
        probes[1].gallery[0] = shown(0, None);
        assert!(run(&probes).unwrap_err().is_leak());
        probes[1].gallery[0] = shown(3, Some([1.0, 1.0, 1.0, 2.0]));
        assert!(matches!(run(&probes), Err(ProtocolError::Box { place: 1, .. })));
        probes[1].gallery[0] = shown(4, None);
        assert!(matches!(run(&probes), Err(ProtocolError::Task(EvalError::NoRow { row: 4, .. }))));
    }
}
