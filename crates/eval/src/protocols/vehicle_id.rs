//! VehicleID: repeated draws of one picture an id.
//!
//! Each draw puts one random picture of every vehicle into the gallery and asks with all its others
//! ([`Draw::OneInGallery`], the dataset's own); some papers invert it ([`Draw::OneAsks`]), which is
//! easier and not comparable. No camera is considered. CMC@1 and @5, mean and sample standard deviation
//! over the draws. Source: Liu et al., "Deep relative distance learning", CVPR 2016 (ten draws; lists of
//! 800, 1,600 and 2,400 vehicles).

use super::places::{Contest, Part};
use super::scores::{measure, most_alike};
use super::{Precision, ProtocolError, RankedScores, RankingOptions};
use crate::EvalError;
use crate::retrieval::check_members;
use data::{Metric, Rows};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What the drawn picture of each vehicle does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// It answers; all others ask.
    OneInGallery,
    /// It asks; all others answer.
    OneAsks,
}

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct VehicleTask<'a> {
    /// Embeddings, `pictures x dim`.
    pub rows: Rows<'a, f32>,
    /// What ranks the answers.
    pub metric: Metric,
    /// Vehicle of each picture, any numbers, `pictures`.
    pub vehicles: &'a [i32],
    /// Row numbers of the test list.
    pub members: &'a [usize],
    /// What the drawn picture does.
    pub draw: Draw,
    /// How many draws; 10 in the paper.
    pub draws: usize,
}

/// The mean over draws and how far they spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation; 0 for one draw.
    pub deviation: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        Self { mean, deviation: if values.len() < 2 { 0.0 } else { (squares / (n - 1.0)).sqrt() } }
    }

    /// `{"mean": .., "deviation": ..}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"mean": self.mean, "deviation": self.deviation})
    }
}

/// The numbers of all draws.
#[derive(Clone, Debug, PartialEq)]
pub struct VehicleScores {
    /// The protocol's id.
    pub protocol: String,
    /// `(k, mean and deviation of the curve over draws)`, by k.
    pub cmc: Vec<(usize, Spread)>,
    /// Mean average precision.
    pub map: Spread,
    /// Each draw, with intervals over vehicles.
    pub draws: Vec<RankedScores>,
}

impl VehicleScores {
    /// The object to store.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut value =
            json!({"protocol": self.protocol, "draws": self.draws.len(), "map": self.map.to_json()});
        for (k, spread) in &self.cmc {
            value[format!("cmc@{k}")] = spread.to_json();
        }
        let first = &self.draws[0];
        value["queries"] = json!(first.queries);
        value["dropped_queries"] = json!(first.dropped_queries);
        value["ties"] = json!(self.draws.iter().map(|draw| draw.ties).sum::<usize>());
        value["seed"] = json!(first.seed);
        value
    }
}

/// Row numbers `(asking, answering)` of draw `draw`, in the order of vehicles, then of `members`.
///
/// Draw and seed decide alone: every vehicle's choice comes from one stream a draw.
#[must_use]
pub fn drawn(task: &VehicleTask<'_>, seed: u64, draw: usize) -> (Vec<usize>, Vec<usize>) {
    let mut groups = BTreeMap::<i32, Vec<usize>>::new();
    task.members.iter().for_each(|&row| groups.entry(task.vehicles[row]).or_default().push(row));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(draw as u64 + 1);
    let (mut one, mut others) = (Vec::new(), Vec::new());
    for mut rows in groups.into_values() {
        one.push(rows.remove(rng.random_range(0..rows.len())));
        others.extend(rows);
    }
    match task.draw {
        Draw::OneInGallery => (others, one),
        Draw::OneAsks => (one, others),
    }
}

/// Measures every draw of `task` exactly, on the caller's rayon pool.
///
/// # Errors
/// When the task does not fit together, asks for no draw, or no query can succeed.
pub fn vehicle_id(task: &VehicleTask<'_>, options: &RankingOptions) -> Result<VehicleScores, ProtocolError> {
    let (pictures, len) = (task.rows.len(), task.vehicles.len());
    if len != pictures {
        return Err(EvalError::Lengths { what: "vehicles", len, pictures }.into());
    }
    if task.draws == 0 {
        return Err(ProtocolError::TooFew { what: "draws", need: 1, got: 0 });
    }
    check_members(task.rows, task.members, &[])?;
    let which = match task.draw {
        Draw::OneInGallery => "one-in-gallery",
        Draw::OneAsks => "one-asks",
    };
    let protocol = format!("vehicle-id/{which}/{}-draws/v1", task.draws);
    let draws: Result<Vec<RankedScores>, ProtocolError> = (0..task.draws)
        .map(|draw| {
            let (queries, gallery) = drawn(task, options.seed, draw);
            let contest = Contest {
                rows: task.rows,
                metric: task.metric,
                queries: &queries,
                gallery: &gallery,
                most_right: most_alike(task.vehicles, &gallery),
            };
            let part = |query: usize, row: usize| {
                if task.vehicles[query] == task.vehicles[row] { Part::Right } else { Part::Wrong }
            };
            measure(&contest, task.vehicles, Precision::Standard, part, options, format!("{protocol}/{draw}"))
        })
        .collect();
    let draws = draws?;
    let spread =
        |value: &dyn Fn(&RankedScores) -> f64| Spread::of(&draws.iter().map(value).collect::<Vec<_>>());
    let cuts = draws[0].cmc.iter().map(|(k, _)| *k).enumerate();
    let cmc = cuts.map(|(i, k)| (k, spread(&|scores| scores.cmc[i].1.value))).collect();
    let map = spread(&|scores| scores.map.value);
    Ok(VehicleScores { protocol, cmc, map, draws })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [f32; 6] = [0.0, 1.0, 2.0, 10.0, 11.0, 5.4];

    fn task(draw: Draw, draws: usize) -> VehicleTask<'static> {
        VehicleTask {
            rows: Rows::new(&VALUES, 1).unwrap(),
            metric: Metric::L2,
            vehicles: &[3, 3, 3, 1, 1, 2],
            members: &[0, 1, 2, 3, 4, 5],
            draw,
            draws,
        }
    }

    #[test]
    fn one_picture_of_each_vehicle_answers() {
        for seed in 0..20 {
            let (queries, gallery) = drawn(&task(Draw::OneInGallery, 1), seed, 0);
            assert_eq!((queries.len(), gallery.len()), (3, 3));
            assert_eq!(gallery.iter().map(|&row| [3, 3, 3, 1, 1, 2][row]).collect::<Vec<_>>(), [1, 2, 3]);
            assert_eq!(drawn(&task(Draw::OneAsks, 1), seed, 0), (gallery, queries));
        }
        let chosen: std::collections::BTreeSet<_> =
            (0..50).map(|draw| drawn(&task(Draw::OneInGallery, 1), 0, draw)).collect();
        assert_eq!(chosen.len(), 6); // 3 x 2 x 1 ways, each drawn among fifty
    }

    #[test]
    fn draws_are_summed_up() {
        let options =
            RankingOptions { cuts: vec![1, 5], seed: 4, resamples: 20, ..RankingOptions::default() };
        let got = vehicle_id(&task(Draw::OneInGallery, 10), &options).unwrap();
        assert_eq!(got.protocol, "vehicle-id/one-in-gallery/10-draws/v1");
        // Clusters lie far apart, so that every query's nearest is its own vehicle.
        assert_eq!(got.cmc[0].1, Spread { mean: 1.0, deviation: 0.0 });
        assert_eq!(got, vehicle_id(&task(Draw::OneInGallery, 10), &options).unwrap());
        let inverted = vehicle_id(&task(Draw::OneAsks, 3), &options).unwrap();
        assert_eq!(inverted.draws[0].dropped_queries, 1); // the vehicle with one picture
        let spread = Spread::of(&[1.0, 2.0, 3.0]);
        assert_eq!((spread.mean, spread.deviation), (2.0, 1.0));
        assert!(vehicle_id(&task(Draw::OneAsks, 0), &options).is_err());
    }
}
