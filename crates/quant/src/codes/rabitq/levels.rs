//! The code of a direction: which whole numbers, each plus a half, point most nearly along some sizes.
//!
//! `m_i = min(floor(t s_i), most)` for a scale `t`, and the best code is that of some `t`: as `t` grows, one number
//! at a time goes up by one, so that a sweep over these points compares all codes in turn.

/// Where the sweep begins, as a share of the scale at which the largest size gets the largest number.
const START: f32 = 0.7;

/// Writes to `levels` the numbers, below `2^(bits - 1)` each, for which `m + 1/2` has the least angle to
/// the sizes of `values`.
pub(super) fn nearest(values: &[f32], bits: u32, levels: &mut [u8]) {
    let widest = values.iter().fold(0f32, |most, value| most.max(value.abs()));
    levels.fill(0);
    if !(widest > 0.0 && widest.is_finite()) {
        return;
    }
    let sizes: Vec<f32> = values.iter().map(|value| (value / widest).abs()).collect();
    let (first, last) = window(bits);
    let most = (1u32 << (bits - 1)) - 1;
    let at = |scale: f32, size: f32| ((scale * size) as u32).min(most);
    let mut steps = Vec::new();
    for (i, (level, &size)) in (0u64..).zip(levels.iter_mut().zip(&sizes)) {
        *level = at(first, size) as u8;
        for next in u32::from(*level) + 1..=at(last, size) {
            // Positive floats order as their bits do.
            steps.push(u64::from((next as f32 / size).to_bits()) << 32 | i);
        }
    }
    steps.sort_unstable();
    for &step in &steps[..best(&sizes, levels, &steps)] {
        levels[step as u32 as usize] += 1;
    }
}

/// The scales between which to sweep, for sizes of at most one.
///
/// With few bits it pays to cut off the largest sizes, with many it costs more than it brings.
fn window(bits: u32) -> (f32, f32) {
    let full = (1u32 << (bits - 1)) as f32;
    (START * full, (1.0 + 2.0 / (2.0 * full).sqrt()) * full)
}

/// How many of `steps` lead from `levels` to the least angle; the fewest of several.
fn best(sizes: &[f32], levels: &[u8], steps: &[u64]) -> usize {
    let mut levels = levels.to_vec();
    let values: Vec<f64> = levels.iter().map(|&level| f64::from(level) + 0.5).collect();
    let mut along: f64 = values.iter().zip(sizes).map(|(value, &size)| value * f64::from(size)).sum();
    let mut length: f64 = values.iter().map(|value| value * value).sum();
    let (mut best, mut most) = (0, along * along / length);
    for (count, &step) in (1..).zip(steps) {
        let i = step as u32 as usize;
        levels[i] += 1;
        along += f64::from(sizes[i]);
        // (m + 1/2)^2 - (m - 1/2)^2
        length += 2.0 * f64::from(levels[i]);
        let cosine = along * along / length;
        if cosine > most {
            (best, most) = (count, cosine);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::normal;
    use kernels::SplitMix64;

    fn cosine(values: &[f32], levels: &[u8]) -> f64 {
        let pairs = || values.iter().zip(levels).map(|(v, &m)| (f64::from(v.abs()), f64::from(m) + 0.5));
        let (along, length) = pairs().fold((0.0, 0.0), |(a, l), (v, m)| (a + v * m, l + m * m));
        along / length.sqrt() / values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn a_code_by_hand() {
        // Two bits: of (0, 0), (1, 0) and (1, 1), each plus a half, the second points along (-3, 1).
        let mut levels = [9; 2];
        nearest(&[-3.0, 1.0], 2, &mut levels);
        assert_eq!(levels, [1, 0]);
        nearest(&[0.0, -0.0], 4, &mut levels);
        assert_eq!(levels, [0, 0]);
        nearest(&[1e-45, 3e-45], 2, &mut levels);
        assert_eq!(levels, [0, 1]);
    }

    #[test]
    fn no_scale_gives_a_better_code() {
        let mut random = SplitMix64::new(5);
        for bits in 2..=8 {
            for dim in [64, 256] {
                let values: Vec<f32> = (0..dim).map(|_| normal(&mut random) as f32).collect();
                let mut levels = vec![0; dim];
                nearest(&values, bits, &mut levels);
                let got = cosine(&values, &levels);
                let widest = values.iter().fold(0f32, |most, v| most.max(v.abs()));
                let (full, most) = ((1u32 << (bits - 1)) as f32, (1u32 << (bits - 1)) - 1);
                // From far below the window of the sweep to far above.
                for step in 1..4000 {
                    let scale = full / widest * step as f32 / 1000.0;
                    let other: Vec<u8> =
                        values.iter().map(|v| ((scale * v.abs()) as u32).min(most) as u8).collect();
                    let other = cosine(&values, &other);
                    assert!(got >= other - 1e-9, "{bits} bits, {dim}: {got} at best, {other} at {scale}");
                }
            }
        }
    }
}
