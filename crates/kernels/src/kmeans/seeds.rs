//! Where centroids start.

use super::{CHUNK, KMeansConfig};
use crate::{Isa, SplitMix64};
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// How the first centroids are chosen among the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seeds {
    /// Each next one drawn with weight equal to its squared distance to those before. Costs as much as a
    /// round of Lloyd.
    PlusPlus,
    /// Different rows, all alike likely.
    Random,
}

/// The first centroids; none once `stop` is set.
pub(super) fn seeds(rows: &[f32], dim: usize, config: &KMeansConfig, stop: &AtomicBool) -> Option<Vec<f32>> {
    match config.seeds {
        Seeds::PlusPlus => plus_plus(rows, dim, config.cells, config.seed, stop),
        Seeds::Random => {
            let chosen = choose(rows.len() / dim, config.cells, &mut SplitMix64::new(config.seed));
            Some(chosen.into_iter().flat_map(|row| rows[row * dim..][..dim].iter().copied()).collect())
        }
    }
}

/// `count` different numbers below `n`, in the order drawn (the start of a Fisher-Yates shuffle).
pub(super) fn choose(n: usize, count: usize, random: &mut SplitMix64) -> Vec<usize> {
    let mut moved = std::collections::HashMap::new();
    (0..count)
        .map(|i| {
            let j = i + random.below(n - i);
            let picked = moved.get(&j).copied().unwrap_or(j);
            let displaced = moved.get(&i).copied().unwrap_or(i);
            moved.insert(j, displaced);
            picked
        })
        .collect()
}

/// k-means++: each next seed is a row drawn with weight equal to its squared distance to the seeds.
fn plus_plus(rows: &[f32], dim: usize, k: usize, seed: u64, stop: &AtomicBool) -> Option<Vec<f32>> {
    let n = rows.len() / dim;
    let isa = Isa::current();
    let mut random = SplitMix64::new(seed);
    let mut centroids = Vec::with_capacity(k * dim);
    let mut nearest = vec![f32::INFINITY; n];
    let mut pick = random.below(n);
    loop {
        let centroid = &rows[pick * dim..][..dim];
        centroids.extend_from_slice(centroid);
        if centroids.len() == k * dim {
            return Some(centroids);
        }
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        let weights: Vec<f64> = nearest
            .par_chunks_mut(CHUNK)
            .zip(rows.par_chunks(CHUNK * dim))
            .map(|(nearest, rows)| {
                let mut out = [0.0; CHUNK];
                isa.l2_tile(centroid, rows, dim, &mut out[..nearest.len()]);
                nearest.iter_mut().zip(out).for_each(|(nearest, d)| *nearest = nearest.min(d));
                nearest.iter().map(|&d| f64::from(d)).sum()
            })
            .collect();
        pick = draw(&nearest, &weights, &mut random);
    }
}

/// A row drawn with weight `nearest`, whose sums over chunks are `weights`; any row if all are zero.
fn draw(nearest: &[f32], weights: &[f64], random: &mut SplitMix64) -> usize {
    let total: f64 = weights.iter().sum();
    if !(total > 0.0 && total.is_finite()) {
        return random.below(nearest.len());
    }
    let mut left = random.unit() * total;
    let chunk = weights.iter().position(|&weight| {
        let here = left < weight;
        left -= if here { 0.0 } else { weight };
        here
    });
    let start = chunk.unwrap_or(weights.len() - 1) * CHUNK;
    let end = (start + CHUNK).min(nearest.len());
    let mut last = start;
    for (row, &weight) in (start..end).zip(&nearest[start..end]) {
        if weight > 0.0 {
            last = row;
            if left < f64::from(weight) {
                break;
            }
        }
        left -= f64::from(weight);
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_differ() {
        let mut chosen = choose(100, 100, &mut SplitMix64::new(2));
        assert_ne!(chosen, (0..100).collect::<Vec<_>>());
        chosen.sort_unstable();
        assert_eq!(chosen, (0..100).collect::<Vec<_>>());
        assert!(choose(1_000_000, 3, &mut SplitMix64::new(2)).iter().all(|&row| row < 1_000_000));
    }
}
