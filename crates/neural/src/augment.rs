//! Random views of a picture: one affine resampling, then colour, all drawn from a given generator.

use data::{Image, Preprocess};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How far a view may lie from its picture. Zero everywhere gives the picture itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Largest change of scale: a view is between `1 - scale` and `1 + scale` times as large.
    pub scale: f32,
    /// Largest change of width against height, as a share.
    pub aspect: f32,
    /// Largest shift, as a share of the side.
    pub shift: f32,
    /// Largest rotation, degrees.
    pub rotate: f32,
    /// Probability of a mirror image.
    pub flip: f32,
    /// Largest change of brightness, contrast and saturation, as a share.
    pub colour: f32,
    /// Largest turn of the hue, degrees.
    pub hue: f32,
    /// Probability of losing all colour.
    pub grey: f32,
    /// Probability of a blank rectangle, a tenth to a third of each side.
    pub erase: f32,
}

impl Default for AugmentConfig {
    fn default() -> Self {
        Self {
            scale: 0.15,
            aspect: 0.1,
            shift: 0.08,
            rotate: 10.0,
            flip: 0.5,
            colour: 0.3,
            hue: 20.0,
            grey: 0.2,
            erase: 0.0,
        }
    }
}

impl AugmentConfig {
    /// No change at all: a view is the picture itself.
    #[must_use]
    pub fn none() -> Self {
        Self {
            scale: 0.0,
            aspect: 0.0,
            shift: 0.0,
            rotate: 0.0,
            flip: 0.0,
            colour: 0.0,
            hue: 0.0,
            grey: 0.0,
            erase: 0.0,
        }
    }

    /// A view of `square`, a picture already at the network's size, as the network's input:
    /// `size * size * 3` values, normalised.
    ///
    /// # Panics
    /// When the picture is not `size x size`.
    #[must_use]
    pub fn view(&self, square: &Image, preprocess: &Preprocess, rng: &mut ChaCha8Rng) -> Vec<f32> {
        assert!(square.width == preprocess.size && square.height == preprocess.size, "a squared picture");
        let mut pixels = self.resample(square, preprocess.background, rng);
        self.recolour(&mut pixels, rng);
        self.blank(&mut pixels, preprocess, rng);
        for pixel in pixels.as_chunks_mut::<3>().0 {
            for (value, (mean, std)) in pixel.iter_mut().zip(preprocess.mean.iter().zip(&preprocess.std)) {
                *value = (value.clamp(0.0, 255.0) - mean) / std;
            }
        }
        pixels
    }

    /// Affine map from view to picture, sampled bilinearly; outside lies the background.
    fn resample(&self, square: &Image, background: [u8; 3], rng: &mut ChaCha8Rng) -> Vec<f32> {
        let size = square.width as f32;
        let within = |rng: &mut ChaCha8Rng, most: f32| (rng.random::<f32>() * 2.0 - 1.0) * most;
        let scale = 1.0 + within(rng, self.scale);
        let aspect = (1.0 + within(rng, self.aspect)).sqrt();
        let (sin, cos) = within(rng, self.rotate).to_radians().sin_cos();
        let (shift_x, shift_y) = (within(rng, self.shift) * size, within(rng, self.shift) * size);
        let mirror = if rng.random::<f32>() < self.flip { -1.0 } else { 1.0 };
        let (inverse_x, inverse_y) = (mirror / (scale * aspect), aspect / scale);
        let centre = (size - 1.0) / 2.0;
        let background = background.map(f32::from);
        let side = square.width as usize;
        let mut out = Vec::with_capacity(side * side * 3);
        for y in 0..side {
            for x in 0..side {
                let (dx, dy) = (x as f32 - centre - shift_x, y as f32 - centre - shift_y);
                let from_x = (cos * dx + sin * dy) * inverse_x + centre;
                let from_y = (cos * dy - sin * dx) * inverse_y + centre;
                out.extend(bilinear(square, background, from_x, from_y));
            }
        }
        out
    }

    /// Brightness, contrast, saturation, hue and greyness as one 3 x 3 matrix and an offset.
    fn recolour(&self, pixels: &mut [f32], rng: &mut ChaCha8Rng) {
        let around_one = |rng: &mut ChaCha8Rng| 1.0 + (rng.random::<f32>() * 2.0 - 1.0) * self.colour;
        let (brightness, contrast, saturation) = (around_one(rng), around_one(rng), around_one(rng));
        let hue = (rng.random::<f32>() * 2.0 - 1.0) * self.hue;
        let saturation = if rng.random::<f32>() < self.grey { 0.0 } else { saturation };
        let matrix = colour_matrix(hue, saturation);
        let mean = pixels.iter().sum::<f32>() / pixels.len() as f32;
        for pixel in pixels.as_chunks_mut::<3>().0 {
            let turned = matrix.map(|row| row[0] * pixel[0] + row[1] * pixel[1] + row[2] * pixel[2]);
            *pixel = turned.map(|v| ((v - mean) * contrast + mean) * brightness);
        }
    }

    fn blank(&self, pixels: &mut [f32], preprocess: &Preprocess, rng: &mut ChaCha8Rng) {
        if rng.random::<f32>() >= self.erase {
            return;
        }
        let side = preprocess.size as usize;
        let mut span = || {
            let length = ((0.1 + 0.23 * rng.random::<f32>()) * side as f32) as usize;
            let start = rng.random_range(0..=side - length);
            start..start + length
        };
        let (rows, cols) = (span(), span());
        for y in rows {
            for pixel in pixels[(y * side + cols.start) * 3..(y * side + cols.end) * 3].as_chunks_mut::<3>().0
            {
                *pixel = preprocess.mean;
            }
        }
    }
}

/// Rotation about the grey axis, then a pull towards the luminance (ITU-R 601 weights).
fn colour_matrix(hue: f32, saturation: f32) -> [[f32; 3]; 3] {
    let (sin, cos) = hue.to_radians().sin_cos();
    let third = (1.0 - cos) / 3.0;
    let skew = sin / 3f32.sqrt();
    let turn = [
        [cos + third, third - skew, third + skew],
        [third + skew, cos + third, third - skew],
        [third - skew, third + skew, cos + third],
    ];
    let luminance = [0.299, 0.587, 0.114];
    let mut matrix = [[0.0; 3]; 3];
    for (row, out) in matrix.iter_mut().enumerate() {
        for (col, value) in out.iter_mut().enumerate() {
            let grey: f32 = (0..3).map(|k| luminance[k] * turn[k][col]).sum();
            *value = saturation * turn[row][col] + (1.0 - saturation) * grey;
        }
    }
    matrix
}

/// The picture at a fractional position; a neighbour outside counts as the background.
#[inline]
fn bilinear(image: &Image, background: [f32; 3], x: f32, y: f32) -> [f32; 3] {
    let (left, top) = (x.floor(), y.floor());
    let (right_share, low_share) = (x - left, y - top);
    let mut out = [0.0; 3];
    for (dy, share_y) in [(0.0, 1.0 - low_share), (1.0, low_share)] {
        for (dx, share_x) in [(0.0, 1.0 - right_share), (1.0, right_share)] {
            let (at_x, at_y) = (left + dx, top + dy);
            let inside =
                at_x >= 0.0 && at_y >= 0.0 && at_x < image.width as f32 && at_y < image.height as f32;
            let share = share_x * share_y;
            if inside {
                let at = (at_y as usize * image.width as usize + at_x as usize) * 3;
                let pixel = &image.pixels[at..at + 3];
                (0..3).for_each(|c| out[c] += share * f32::from(pixel[c]));
            } else {
                (0..3).for_each(|c| out[c] += share * background[c]);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::{Crop, Filter};
    use rand::SeedableRng;

    fn preprocess() -> Preprocess {
        Preprocess {
            size: 8,
            crop: Crop::Stretch,
            filter: Filter::Bilinear,
            mean: [127.0; 3],
            std: [128.0; 3],
            background: [255; 3],
        }
    }

    fn picture() -> Image {
        Image { width: 8, height: 8, pixels: (0..192).map(|i| (i * 37 % 251) as u8).collect() }
    }

    fn view(config: &AugmentConfig, seed: u64) -> Vec<f32> {
        config.view(&picture(), &preprocess(), &mut ChaCha8Rng::seed_from_u64(seed))
    }

    #[test]
    fn no_change_is_the_picture_itself() {
        let picture = picture();
        let want = picture.pixels.iter().map(|&v| (f32::from(v) - 127.0) / 128.0);
        for (got, want) in view(&AugmentConfig::none(), 3).into_iter().zip(want) {
            assert!((got - want).abs() < 1e-5, "{got} {want}");
        }
    }

    #[test]
    fn a_flip_mirrors_rows() {
        let (plain, flipped) =
            (view(&AugmentConfig::none(), 3), view(&AugmentConfig { flip: 1.0, ..AugmentConfig::none() }, 3));
        for y in 0..8 {
            for x in 0..8 {
                let (a, b) = ((y * 8 + x) * 3, (y * 8 + 7 - x) * 3);
                assert!((plain[a] - flipped[b]).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn grey_has_equal_channels_and_hue_keeps_grey() {
        let grey = view(&AugmentConfig { grey: 1.0, ..AugmentConfig::none() }, 3);
        assert!(
            grey.as_chunks::<3>().0.iter().all(|p| (p[0] - p[1]).abs() < 1e-4 && (p[1] - p[2]).abs() < 1e-4)
        );
        for row in colour_matrix(73.0, 1.3) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "greys stay where they are");
        }
    }

    #[test]
    fn views_depend_on_the_generator_alone() {
        let config = AugmentConfig { erase: 1.0, ..AugmentConfig::default() };
        assert_eq!(view(&config, 1), view(&config, 1));
        assert_ne!(view(&config, 1), view(&config, 2));
        assert!(view(&config, 1).iter().all(|v| v.is_finite()));
    }
}
