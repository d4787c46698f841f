//! Barnes-Hut t-SNE: a map on which near neighbours stay near.
//!
//! Notation: `p[i][j]`, affinity of rows i and j, nonzero only among near neighbours; `y`, places on the
//! map; `q = 1 / (1 + |y_i - y_j|^2)`; `Z`, the sum of q over all ordered pairs.
//! Gradient (times 4): `sum_j p q (y_i - y_j) - sum_j q^2 (y_i - y_j) / Z`.
//! Source: van der Maaten, "Accelerating t-SNE using tree-based algorithms", JMLR 2014.

use crate::quadtree::Quadtree;
use crate::strip::{Nearest, Strip};
use data::{Hit, Metric, Rows};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use thiserror::Error;

/// Rounds in which affinities are exaggerated, so that clusters form while they can still pass each other.
const EARLY: usize = 250;
const EXAGGERATION: f64 = 12.0;
/// Queries a block of the neighbour search.
const BLOCK: usize = 16;

/// How to draw the map.
#[derive(Clone, Debug, PartialEq)]
pub struct TsneOptions {
    /// Effective number of neighbours; lowered to `(rows - 1) / 3` for small sets.
    pub perplexity: f64,
    /// Rounds of gradient descent.
    pub iterations: usize,
    /// Cells narrower than `theta` times their distance act as one point; 0 is exact.
    pub theta: f64,
    /// Seed of the jitter on the starting places.
    pub seed: u64,
}

impl Default for TsneOptions {
    fn default() -> Self {
        Self { perplexity: 30.0, iterations: 1000, theta: 0.5, seed: 0 }
    }
}

/// Why no map can be drawn.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TsneError {
    /// A value is not a number.
    #[error("row {row} holds a value that is not finite; it has no place on a map")]
    NotFinite {
        /// Which row.
        row: usize,
    },
    /// An option makes no sense.
    #[error("t-SNE needs a perplexity above 1 and a theta of 0 or more")]
    Options,
}

/// Places `rows` on a plane: one `[x, y]` a row, centred on the origin.
///
/// Distances are Euclidean. Fewer than five rows get their principal components. Memory grows with
/// `rows x perplexity`; time with `rows^2 x dim` for the neighbours and `rows log rows` a round.
/// `progress(done, all)` counts rounds. Runs on the caller's rayon pool; places do not depend on its size.
///
/// # Errors
/// When a value is not finite or an option makes no sense.
pub fn tsne(
    rows: Rows<'_, f32>,
    options: &TsneOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<[f32; 2]>, TsneError> {
    if !(options.perplexity > 1.0 && options.perplexity.is_finite() && options.theta >= 0.0) {
        return Err(TsneError::Options);
    }
    if let Some(row) = rows.iter().position(|row| !row.iter().all(|value| value.is_finite())) {
        return Err(TsneError::NotFinite { row });
    }
    let mut places = start(rows, options.seed);
    if rows.len() >= 5 {
        let perplexity = options.perplexity.min((rows.len() - 1) as f64 / 3.0);
        let affinities = Affinities::new(rows, perplexity);
        descend(&mut places, &affinities, options, progress);
    }
    Ok(places.into_iter().map(|[x, y]| [x as f32, y as f32]).collect())
}

/// Symmetric affinities, row after row; all of them sum to 1.
struct Affinities {
    ends: Vec<usize>,
    /// `(j, p[i][j])`, by j.
    pairs: Vec<(u32, f64)>,
}

impl Affinities {
    fn new(rows: Rows<'_, f32>, perplexity: f64) -> Self {
        let n = rows.len();
        let everyone: Vec<usize> = (0..n).collect();
        let k = ((3.0 * perplexity) as usize).clamp(1, n - 1);
        let conditional: Vec<Vec<(u32, f64)>> = everyone
            .par_chunks(BLOCK)
            .map_init(
                || (Strip::new(), Nearest::new()),
                |(strip, nearest), queries| {
                    strip.fill(rows, Metric::L2, queries, &everyone);
                    let of = |(i, &query): (usize, &usize)| {
                        nearest.reset(k);
                        strip.within(i, nearest.limit(), |other, distance| {
                            if other != query {
                                nearest.offer(Hit { id: other as u64, distance });
                            }
                            nearest.limit()
                        });
                        conditional(nearest.finish(), perplexity)
                    };
                    queries.iter().enumerate().map(of).collect::<Vec<_>>()
                },
            )
            .flatten_iter()
            .collect();
        Self::symmetric(&conditional)
    }

    /// `p[i][j] = (p[j|i] + p[i|j]) / 2n`.
    fn symmetric(conditional: &[Vec<(u32, f64)>]) -> Self {
        let n = conditional.len();
        let mut joint: Vec<Vec<(u32, f64)>> = conditional.to_vec();
        for (i, row) in conditional.iter().enumerate() {
            row.iter().for_each(|&(j, p)| joint[j as usize].push((i as u32, p)));
        }
        let (mut ends, mut pairs) = (Vec::with_capacity(n), Vec::<(u32, f64)>::new());
        for mut row in joint {
            row.sort_by_key(|&(j, _)| j);
            let start = pairs.len();
            for (j, p) in row {
                let p = p / (2 * n) as f64;
                match pairs[start..].last_mut() {
                    Some((last, sum)) if *last == j => *sum += p,
                    _ => pairs.push((j, p)),
                }
            }
            ends.push(pairs.len());
        }
        Self { ends, pairs }
    }

    fn of(&self, i: usize) -> &[(u32, f64)] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.pairs[start..self.ends[i]]
    }
}

/// `p[j|i]` over the neighbours of one row: a Gaussian whose width gives the wanted perplexity.
fn conditional(neighbours: &[Hit], perplexity: f64) -> Vec<(u32, f64)> {
    let least = f64::from(neighbours[0].distance);
    let squared: Vec<f64> = neighbours.iter().map(|hit| f64::from(hit.distance) - least).collect();
    let want = perplexity.ln();
    // Bisection on beta = 1 / (2 sigma^2); the scale of the distances is unknown, so it first doubles.
    let (mut low, mut high, mut beta) = (0.0, f64::INFINITY, 1.0 / mean(&squared).max(f64::MIN_POSITIVE));
    for _ in 0..100 {
        let gap = entropy(&squared, beta) - want;
        if gap.abs() < 1e-6 || !beta.is_finite() {
            break;
        }
        if gap > 0.0 {
            low = beta;
            beta = if high.is_finite() { f64::midpoint(low, high) } else { beta * 2.0 };
        } else {
            high = beta;
            beta = f64::midpoint(low, high);
        }
    }
    // Equal distances have the same entropy whatever beta is, which then grows without bound.
    let beta = beta.min(1e300);
    let weights: Vec<f64> = squared.iter().map(|&d| weight(d, beta)).collect();
    let sum: f64 = weights.iter().sum();
    neighbours.iter().zip(weights).map(|(hit, weight)| (hit.id as u32, weight / sum)).collect()
}

fn weight(squared: f64, beta: f64) -> f64 {
    (-squared * beta).exp()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Entropy in nats of the Gaussian of inverse width `beta`; the nearest has squared distance 0.
fn entropy(squared: &[f64], beta: f64) -> f64 {
    let (mut sum, mut moment) = (0.0, 0.0);
    for &d in squared {
        let weight = weight(d, beta);
        sum += weight;
        moment += d * beta * weight;
    }
    sum.ln() + moment / sum
}

/// Two principal components, scaled to a spread of 1e-4, with a jitter that parts equal rows.
fn start(rows: Rows<'_, f32>, seed: u64) -> Vec<[f64; 2]> {
    let (n, dim) = (rows.len(), rows.dim());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut centre = vec![0.0f64; dim];
    for row in rows.iter() {
        centre.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value) / n as f64);
    }
    let project = |axis: &[f64]| -> Vec<f64> {
        let place = |i| rows.row(i).iter().zip(&centre).zip(axis).map(|((&x, c), a)| (f64::from(x) - c) * a);
        (0..n).into_par_iter().map(|i| place(i).sum()).collect()
    };
    let mut axes: Vec<Vec<f64>> = Vec::new();
    for _ in 0..2 {
        let mut axis: Vec<f64> = (0..dim).map(|_| rng.random_range(-1.0..1.0)).collect();
        // Power iteration on the covariance, orthogonal to the axis already found.
        for _ in 0..30 {
            orthonormal(&mut axis, &axes);
            let shadows = project(&axis);
            axis.fill(0.0);
            for (row, shadow) in rows.iter().zip(shadows) {
                let pull = row.iter().zip(&centre).map(|(&x, c)| (f64::from(x) - c) * shadow);
                axis.iter_mut().zip(pull).for_each(|(sum, value)| *sum += value);
            }
        }
        orthonormal(&mut axis, &axes);
        axes.push(axis);
    }
    let (across, up) = (project(&axes[0]), project(&axes[1]));
    let spread = (across.iter().map(|x| x * x).sum::<f64>() / n.max(1) as f64).sqrt();
    let scale = if spread > 0.0 { 1e-4 / spread } else { 0.0 };
    let mut jitter = || rng.random_range(-1e-6..1e-6);
    across.iter().zip(&up).map(|(x, y)| [x * scale + jitter(), y * scale + jitter()]).collect()
}

/// Removes the part along `others` and gives unit length; an axis without anything left becomes zero.
fn orthonormal(axis: &mut [f64], others: &[Vec<f64>]) {
    for other in others {
        let along: f64 = axis.iter().zip(other).map(|(a, b)| a * b).sum();
        axis.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
    }
    let length = axis.iter().map(|a| a * a).sum::<f64>().sqrt();
    axis.iter_mut().for_each(|a| *a = if length > 1e-150 { *a / length } else { 0.0 });
}

fn descend(
    places: &mut [[f64; 2]],
    affinities: &Affinities,
    options: &TsneOptions,
    progress: &mut dyn FnMut(usize, usize),
) {
    let n = places.len();
    let rate = (n as f64 / EXAGGERATION).max(50.0);
    let mut speed = vec![[0.0f64; 2]; n];
    let mut gains = vec![[1.0f64; 2]; n];
    for round in 0..options.iterations {
        let early = round < EARLY.min(options.iterations / 2);
        let (exaggeration, momentum) = if early { (EXAGGERATION, 0.5) } else { (1.0, 0.8) };
        let gradient = gradient(places, affinities, options.theta, exaggeration);
        for i in 0..n {
            for axis in 0..2 {
                let (slope, gain) = (gradient[i][axis], &mut gains[i][axis]);
                let turned = (slope > 0.0) == (speed[i][axis] > 0.0);
                *gain = if turned { (*gain * 0.8).max(0.01) } else { *gain + 0.2 };
                speed[i][axis] = momentum * speed[i][axis] - rate * *gain * slope;
                places[i][axis] += speed[i][axis];
            }
        }
        centre(places);
        progress(round + 1, options.iterations);
    }
}

fn gradient(places: &[[f64; 2]], affinities: &Affinities, theta: f64, exaggeration: f64) -> Vec<[f64; 2]> {
    let tree = Quadtree::new(places);
    let forces: Vec<([f64; 2], [f64; 2], f64)> = (0..places.len())
        .into_par_iter()
        .map(|i| {
            let (push, z) = tree.push(places[i], theta);
            (pull(places, affinities, i), push, z)
        })
        .collect();
    // Summed here, in order, so that the value does not depend on the threads.
    let z: f64 = forces.iter().map(|(_, _, z)| z).sum::<f64>().max(f64::MIN_POSITIVE);
    forces
        .into_iter()
        .map(|(pull, push, _)| [0, 1].map(|axis| 4.0 * (exaggeration * pull[axis] - push[axis] / z)))
        .collect()
}

fn pull(places: &[[f64; 2]], affinities: &Affinities, i: usize) -> [f64; 2] {
    let [x, y] = places[i];
    let mut force = [0.0; 2];
    for &(j, p) in affinities.of(i) {
        let (dx, dy) = (x - places[j as usize][0], y - places[j as usize][1]);
        let weight = p / (1.0 + dx * dx + dy * dy);
        force[0] += weight * dx;
        force[1] += weight * dy;
    }
    force
}

fn centre(places: &mut [[f64; 2]]) {
    let n = places.len() as f64;
    let sum = places.iter().fold([0.0, 0.0], |sum, place| [sum[0] + place[0], sum[1] + place[1]]);
    places.iter_mut().for_each(|place| *place = [place[0] - sum[0] / n, place[1] - sum[1] / n]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `clusters` clouds of `each` rows around the corners of a simplex, in 8 dimensions.
    fn clouds(clusters: usize, each: usize) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        (0..clusters * each)
            .flat_map(|i| (0..8).map(move |axis| if axis == i % clusters { 4.0 } else { 0.0 }))
            .map(|centre: f32| centre + rng.random_range(-0.6..0.6))
            .collect()
    }

    fn map(values: &[f32], dim: usize, options: &TsneOptions, threads: usize) -> Vec<[f32; 2]> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| tsne(Rows::new(values, dim).unwrap(), options, &mut |_, _| ()).unwrap())
    }

    #[test]
    fn neighbours_on_the_map_share_their_cluster() {
        let clusters = 5;
        let options = TsneOptions { perplexity: 15.0, iterations: 500, ..TsneOptions::default() };
        let places = map(&clouds(clusters, 40), 8, &options, 2);
        for (i, a) in places.iter().enumerate() {
            let squared = |b: &[f32; 2]| (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
            let mut others: Vec<usize> = (0..places.len()).filter(|&j| j != i).collect();
            others.sort_by(|&j, &k| squared(&places[j]).total_cmp(&squared(&places[k])));
            assert!(others[..10].iter().all(|j| j % clusters == i % clusters), "row {i} left its cluster");
        }
    }

    #[test]
    fn places_depend_on_the_seed_and_not_on_threads() {
        let values = clouds(3, 30);
        let options = TsneOptions { iterations: 120, seed: 4, ..TsneOptions::default() };
        let one = map(&values, 8, &options, 1);
        assert_eq!(one, map(&values, 8, &options, 2));
        assert_ne!(one, map(&values, 8, &TsneOptions { seed: 5, ..options }, 2));
    }

    #[test]
    fn affinities_have_the_perplexity_asked_for() {
        let hits: Vec<Hit> = (0..60).map(|i| Hit { id: i, distance: 3.0 + (i * i) as f32 }).collect();
        let p = conditional(&hits, 12.0);
        let entropy: f64 = p.iter().map(|&(_, p)| if p > 0.0 { -p * p.ln() } else { 0.0 }).sum();
        assert!((entropy.exp() - 12.0).abs() < 1e-4, "{}", entropy.exp());
        assert!((p.iter().map(|(_, p)| p).sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn affinities_are_symmetric_and_sum_to_one() {
        let values = clouds(3, 10);
        let affinities = Affinities::new(Rows::new(&values, 8).unwrap(), 5.0);
        let sum: f64 = affinities.pairs.iter().map(|(_, p)| p).sum();
        assert!((sum - 1.0).abs() < 1e-12);
        for i in 0..30 {
            for &(j, p) in affinities.of(i) {
                let back = affinities.of(j as usize).iter().find(|(k, _)| *k as usize == i).unwrap();
                assert!((back.1 - p).abs() < 1e-15);
            }
        }
    }

    #[test]
    fn equal_rows_and_tiny_sets_still_get_places() {
        let options = TsneOptions { iterations: 60, ..TsneOptions::default() };
        for n in [0, 1, 2, 4, 5, 40] {
            let places = map(&vec![1.0; n * 3], 3, &options, 1);
            assert_eq!(places.len(), n);
            assert!(places.iter().flatten().all(|value| value.is_finite()));
        }
    }

    #[test]
    fn numbers_are_checked() {
        let rows = [0.0, 1.0, f32::NAN, 1.0];
        let got = tsne(Rows::new(&rows, 2).unwrap(), &TsneOptions::default(), &mut |_, _| ());
        assert_eq!(got.unwrap_err(), TsneError::NotFinite { row: 1 });
        let options = TsneOptions { perplexity: f64::NAN, ..TsneOptions::default() };
        let got = tsne(Rows::new(&rows[..2], 2).unwrap(), &options, &mut |_, _| ());
        assert_eq!(got.unwrap_err(), TsneError::Options);
    }
}
