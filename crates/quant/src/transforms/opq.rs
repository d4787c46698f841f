//! Optimized product quantization: the rotation after which product codes lose least.
//!
//! `y = R (x - mean)`, the rows of `R` (`d x dim`) orthonormal. What the codes of `y` lose is
//! `|x - R^T y'|^2`, `y'` the decoded `y`. Non-parametric: alternate
//! centroids and codes of `R x` (a round of k-means in each part) and the `R` nearest to mapping `x` on `y'`
//! (Procrustes: `U V^T` of the singular value decomposition of `sum y' x^T`). No step raises the loss. The start
//! is the order of the values as they come or the parametric solution, whichever loses less on a sample.
//! Parametric, with `p` behind the word: for Gaussian vectors the best `R` has principal axes as rows,
//! dealt to parts so that the products of their variances agree: each axis, largest first, goes to the part
//! with room whose product is smallest.
//!
//! `OPQm` rotates for `m` parts of 256 centroids, `OPQmx4` for 16; `_d` keeps `d` values, a multiple of `m`.
//! Source: Ge, He, Ke and Sun, TPAMI 2014.

use super::pca::{Components, components};
use super::{Affine, TransformConfig};
use crate::chain::apply_all;
use crate::codebook::{Codebook, split};
use crate::codes::parts_and_bits;
use crate::matrix;
use crate::spec::{number, setting};
use crate::training::check_rows;
use crate::{Arrays, ParseSpecError, RestoreError, TrainError, Training};
use data::Rows;
use std::fmt;

/// Rounds of centroids, codes and rotation.
const ROUNDS: usize = 40;
/// Training rows at most.
const ROWS: usize = 1 << 15;
/// Rows on which the starts are compared.
const TRIAL: usize = 1 << 13;

/// `OPQm`, with `x4`, `_d` and `p` behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpqConfig {
    /// Parts of the code that follows.
    pub parts: usize,
    /// Bits a part, 4 to 8.
    pub bits: u32,
    /// Values kept; all where none is given.
    pub dim: Option<usize>,
    /// Whether the closed solution for Gaussian vectors is enough.
    pub parametric: bool,
}

impl fmt::Display for OpqConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OPQ{}", self.parts)?;
        if self.bits != 8 {
            write!(f, "x{}", self.bits)?;
        }
        self.dim.map_or(Ok(()), |dim| write!(f, "_{dim}"))?;
        f.write_str(if self.parametric { "p" } else { "" })
    }
}

impl TransformConfig for OpqConfig {
    type Transform = Affine;

    const EXAMPLES: &'static [&'static str] = &["OPQ8", "OPQ16x4", "OPQ8x4_32", "OPQ8p", "OPQ8_32p"];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let rest = word.strip_prefix("OPQ")?;
        let (rest, parametric) = rest.strip_suffix('p').map_or((rest, false), |rest| (rest, true));
        let (rest, dim) = rest.split_once('_').map_or((rest, None), |(rest, dim)| (rest, Some(dim)));
        let config = match (parts_and_bits(rest), dim.map(number)) {
            (_, Some(None)) => None,
            (Some((parts, bits @ 4..=8)), dim) => {
                let dim = dim.flatten();
                dim.is_none_or(|dim| dim > 0 && dim.is_multiple_of(parts)).then_some(Self {
                    parts,
                    bits,
                    dim,
                    parametric,
                })
            }
            _ => None,
        };
        let why =
            "write OPQ, parts and perhaps _ and the values kept, a multiple of the parts, as in OPQ16_64";
        Some(config.ok_or_else(|| setting(word, why)))
    }

    fn train(&self, rows: Rows<'_, f32>, training: &Training<'_>) -> Result<Affine, TrainError> {
        let what = self.to_string();
        let dim = rows.dim();
        let kept = self.dim.unwrap_or(dim);
        if kept > dim {
            return Err(TrainError::Dim { what, why: format!("cannot keep {kept} values"), dim });
        }
        split(kept, self.parts, self)?;
        let count = 1 << self.bits;
        check_rows(self, rows, if self.parametric { 2 } else { count })?;
        let Components { mean, variances, axes } = components(rows, training.seed, &what)?;
        let dealt = deal(&variances[..kept], &axes, self.parts);
        if self.parametric {
            return Ok(Affine::rotation(Some(mean), dealt, dim));
        }
        let sample = matrix::sample(rows, ROWS.max(count), training.seed);
        let centred: Vec<f32> =
            sample.chunks_exact(dim).flat_map(|row| row.iter().zip(&mean).map(|(v, m)| v - m)).collect();
        let search = Search { rows: Rows::new(&centred, dim).expect("whole rows"), config: *self, training };
        let rotation = search.run(dealt, &mut |_| {})?;
        Ok(Affine::rotation(Some(mean), rotation, dim))
    }

    fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<Affine, RestoreError> {
        Affine::restore(arrays, dim, self.dim.unwrap_or(dim), true, false)
    }
}

/// The first axes as rows, in the order of the parts they are dealt to; `variances` fall.
fn deal(variances: &[f64], axes: &[f32], parts: usize) -> Vec<f32> {
    let (room, dim) = (variances.len() / parts, axes.len() / axes.len().isqrt());
    let mut dealt: Vec<(f64, Vec<usize>)> = vec![(0.0, Vec::new()); parts];
    for (axis, &variance) in variances.iter().enumerate() {
        let open = dealt.iter_mut().filter(|(_, axes)| axes.len() < room);
        // The first of equals: `min_by` keeps it.
        if let Some((product, taken)) = open.min_by(|a, b| a.0.total_cmp(&b.0)) {
            *product += variance.max(f64::MIN_POSITIVE).ln();
            taken.push(axis);
        }
    }
    dealt.iter().flat_map(|(_, taken)| taken).flat_map(|axis| &axes[axis * dim..][..dim]).copied().collect()
}

/// The alternation on centred rows.
struct Search<'a> {
    rows: Rows<'a, f32>,
    config: OpqConfig,
    training: &'a Training<'a>,
}

impl Search<'_> {
    /// From `dealt` or from the values as they come; tells `watch` the loss after each step.
    fn run(&self, dealt: Vec<f32>, watch: &mut dyn FnMut(f64)) -> Result<Vec<f32>, TrainError> {
        let dim = self.rows.dim();
        let kept = dealt.len() / dim;
        let (mut codebook, mut rotation) = self.start(dealt)?;
        let zero = vec![0.0; dim];
        let spread = self.rows.iter().map(|row| f64::from(kernels::dot(row, row))).sum::<f64>();
        for round in 0..ROUNDS {
            self.training.step(round, ROUNDS)?;
            let image = self.turned(self.rows, &rotation);
            let image = Rows::new(&image, kept).expect("whole rows");
            // What the projection drops is |x|^2 - |y|^2.
            let dropped = spread - image.iter().map(|row| f64::from(kernels::dot(row, row))).sum::<f64>();
            let dropped = dropped / image.len() as f64;
            let numbers = codebook.assign_all(image);
            watch(codebook.distortion(image, &numbers) + dropped);
            codebook = codebook.update(image, &numbers);
            let decoded = codebook.decode_all(&numbers);
            watch(codebook.distortion(image, &numbers) + dropped);
            let decoded = Rows::new(&decoded, kept).expect("whole rows");
            let toward = matrix::products(decoded, &zero[..kept], self.rows, &zero);
            rotation = matrix::procrustes(toward.as_ref(), &self.config.to_string())?;
        }
        Ok(rotation)
    }

    fn turned(&self, rows: Rows<'_, f32>, rotation: &[f32]) -> Vec<f32> {
        apply_all(&Affine::rotation(None, rotation.to_vec(), rows.dim()), rows)
    }

    /// The rotation whose codes lose less on a sample, and its centroids.
    fn start(&self, dealt: Vec<f32>) -> Result<(Codebook, Vec<f32>), TrainError> {
        let dim = self.rows.dim();
        let OpqConfig { parts, bits, .. } = self.config;
        let sample = matrix::sample(self.rows, TRIAL.max(1 << bits), self.training.seed);
        let sample = Rows::new(&sample, dim).expect("whole rows");
        let trial = |rotation: Vec<f32>| -> Result<(f64, Codebook, Vec<f32>), TrainError> {
            let image = self.turned(sample, &rotation);
            let image = Rows::new(&image, rotation.len() / dim).expect("whole rows");
            let codebook = Codebook::train(image, parts, 1 << bits, &self.config, self.training)?;
            let loss = codebook.distortion(image, &codebook.assign_all(image));
            Ok((loss, codebook, rotation))
        };
        let parametric = trial(dealt)?;
        if self.config.dim.is_none_or(|kept| kept == dim) {
            let identity = (0..dim * dim).map(|at| if at % (dim + 1) == 0 { 1.0 } else { 0.0 }).collect();
            let natural = trial(identity)?;
            if natural.0 <= parametric.0 {
                return Ok((natural.1, natural.2));
            }
        }
        Ok((parametric.1, parametric.2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Transform;
    use crate::codes::Code;

    /// Rows of 16 values, unequal in variance and correlated.
    fn rows() -> Vec<f32> {
        let mut random = kernels::SplitMix64::new(11);
        let straight: Vec<f32> = (0..1500 * 16)
            .map(|i| matrix::normal(&mut random) as f32 * if i % 16 < 4 { 5.0 } else { 0.5 } + 1.0)
            .collect();
        let mut turned = vec![0.0; straight.len()];
        matrix::apply(&matrix::random_rotation(16, 1), Rows::new(&straight, 16).unwrap(), &mut turned);
        turned
    }

    fn train(word: &str, rows: &[f32]) -> Affine {
        let config = OpqConfig::parse(word).unwrap().unwrap();
        config.train(Rows::new(rows, 16).unwrap(), &Training::seeded(1)).unwrap()
    }

    /// The mean squared error of `PQ4x4` after a rotation, or without one.
    fn loss(rotation: Option<&Affine>, rows: &[f32]) -> f32 {
        let mut image = rows.to_vec();
        if let Some(rotation) = rotation {
            rotation.apply(Rows::new(rows, 16).unwrap(), &mut image);
        }
        let view = Rows::new(&image, 16).unwrap();
        let code = Code::parse("PQ4x4").unwrap().train(view, &Training::seeded(1)).unwrap();
        let mut decoded = vec![0.0; image.len()];
        code.decode(&code.encode_all(view).unwrap(), &mut decoded);
        kernels::l2(&image, &decoded) / 1500.0
    }

    #[test]
    fn it_is_orthonormal_and_loses_less() {
        let rows = rows();
        let (plain, full, closed) = (None, train("OPQ4x4", &rows), train("OPQ4x4p", &rows));
        assert!(matrix::tests::defect(full.matrix(), 16) < 1e-4);
        assert!(matrix::tests::defect(train("OPQ4x4_8", &rows).matrix(), 16) < 1e-4);
        let (plain, full, closed) =
            (loss(plain, &rows), loss(Some(&full), &rows), loss(Some(&closed), &rows));
        assert!(full < 0.9 * plain, "{full}, {plain} without");
        assert!(closed < plain, "{closed}, {plain} without");
    }

    #[test]
    fn the_loss_never_rises() {
        let rows = rows();
        for word in ["OPQ4x4", "OPQ4x4_8"] {
            let config = OpqConfig::parse(word).unwrap().unwrap();
            let rows = Rows::new(&rows, 16).unwrap();
            let training = Training::seeded(1);
            let search = Search { rows, config, training: &training };
            let Components { variances, axes, .. } = components(rows, 1, word).unwrap();
            let mut losses = Vec::new();
            search
                .run(deal(&variances[..config.dim.unwrap_or(16)], &axes, 4), &mut |loss| losses.push(loss))
                .unwrap();
            assert_eq!(losses.len(), 2 * ROUNDS);
            assert!(losses.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-4)), "{word}: {losses:?}");
            assert!(losses[2 * ROUNDS - 1] < losses[0]);
        }
    }

    #[test]
    fn axes_are_dealt_to_balance_products() {
        // Variances 8, 4, 2, 1 to two parts: 8 to the first; 4 and, as 4 < 8, 2 to the second; 1 to the first.
        let axes: Vec<f32> = (0..16).map(|at| if at % 5 == 0 { 1.0 } else { 0.0 }).collect();
        let dealt = deal(&[8.0, 4.0, 2.0, 1.0], &axes, 2);
        let order: Vec<usize> =
            dealt.chunks(4).map(|row| row.iter().position(|&v| v == 1.0).unwrap()).collect();
        assert_eq!(order, [0, 3, 1, 2]);
    }

    #[test]
    fn impossible_settings_are_refused() {
        for word in ["OPQ", "OPQ4_7", "OPQ4x9", "OPQ4_", "OPQ0"] {
            assert!(OpqConfig::parse(word).unwrap().is_err(), "{word}");
        }
        let config = OpqConfig::parse("OPQ3x4").unwrap().unwrap();
        let error = config.train(Rows::new(&rows(), 16).unwrap(), &Training::seeded(1)).unwrap_err();
        assert!(matches!(error, TrainError::Split { dim: 16, parts: 3, .. }));
    }
}
