//! From a decoded picture to a network's input, as the contract says.

use crate::resize::{resize, resize_part};
use crate::{Crop, Image, Preprocess};
use thiserror::Error;

/// Largest side of a network's input, pixels.
pub const MAX_INPUT_SIDE: u32 = 4096;

/// Why a preprocessing contract cannot be used.
#[derive(Debug, Error, PartialEq)]
pub enum PreprocessError {
    /// The side of the input.
    #[error("preprocess.size is {0}; it must be 1 to {MAX_INPUT_SIDE} pixels")]
    Size(u32),
    /// The mean.
    #[error("preprocess.mean is {0:?}; every value must be finite, in units of 0 to 255")]
    Mean([f32; 3]),
    /// The deviation.
    #[error("preprocess.std is {0:?}; every value must be finite and above 0, in units of 0 to 255")]
    Std([f32; 3]),
}

impl Preprocess {
    /// Checks what came from a file, before anything is allocated from it.
    ///
    /// # Errors
    /// When the size is not 1 to [`MAX_INPUT_SIDE`], or a mean or deviation cannot be computed with.
    pub fn check(&self) -> Result<(), PreprocessError> {
        if !(1..=MAX_INPUT_SIDE).contains(&self.size) {
            return Err(PreprocessError::Size(self.size));
        }
        if !self.mean.iter().all(|mean| mean.is_finite()) {
            return Err(PreprocessError::Mean(self.mean));
        }
        if !self.std.iter().all(|std| std.is_normal() && *std > 0.0) {
            return Err(PreprocessError::Std(self.std));
        }
        Ok(())
    }

    /// The network's input: `size x size x 3` values, row-major, `(pixel - mean) / std` for each channel.
    ///
    /// # Panics
    /// As [`Preprocess::square`].
    #[must_use]
    pub fn apply(&self, image: &Image) -> Vec<f32> {
        // 256 values a channel: a table gives the same bits as the formula, without a division a pixel.
        let table: [[f32; 256]; 3] =
            [0, 1, 2].map(|c| std::array::from_fn(|value| (value as f32 - self.mean[c]) / self.std[c]));
        let square = self.square(image);
        let mut values = vec![0.0; square.pixels.len()];
        for (out, pixel) in values.chunks_exact_mut(3).zip(square.pixels.chunks_exact(3)) {
            for c in 0..3 {
                out[c] = table[c][usize::from(pixel[c])];
            }
        }
        values
    }

    /// The picture made square, `size x size` pixels, before it is normalised.
    ///
    /// Sides that are not given by `size` are rounded down for [`Crop::Centre`] (and the middle is found with ties
    /// to even, like torchvision's) and to nearest for [`Crop::Pad`].
    ///
    /// # Panics
    /// When `image` is empty or its `pixels` are not `height x width x 3` bytes, or [`Preprocess::check`] fails on
    /// the size.
    #[must_use]
    pub fn square(&self, image: &Image) -> Image {
        assert!((1..=MAX_INPUT_SIDE).contains(&self.size), "preprocess.size is {}", self.size);
        match self.crop {
            Crop::Stretch => resize(image, self.size, self.size, self.filter),
            Crop::Centre => self.centre(image),
            Crop::Pad => self.pad(image),
        }
    }

    fn centre(&self, image: &Image) -> Image {
        let size = u64::from(self.size);
        let short = u64::from(image.width.min(image.height)).max(1);
        // A side beyond 32 bits needs a picture of over a million pixels a side, far above what decoding allows.
        let side = |side: u32| u32::try_from(size * u64::from(side) / short).unwrap_or(u32::MAX);
        let full = (side(image.width), side(image.height));
        let middle = |side: u32| {
            let start = half_to_even(side - self.size);
            start..start + self.size
        };
        resize_part(image, full, (middle(full.0), middle(full.1)), self.filter)
    }

    fn pad(&self, image: &Image) -> Image {
        let long = u64::from(image.width.max(image.height)).max(1);
        let nearest = |side: u32| {
            let side = (2 * u64::from(self.size) * u64::from(side) + long) / (2 * long);
            (side as u32).clamp(1, self.size)
        };
        let inner = resize(image, nearest(image.width), nearest(image.height), self.filter);
        let size = self.size as usize;
        let mut pixels = self.background.repeat(size * size);
        let (width, height) = (inner.width as usize, inner.height as usize);
        let (left, top) = ((size - width) / 2, (size - height) / 2);
        for (y, row) in inner.pixels.chunks_exact(width * 3).enumerate() {
            let start = ((top + y) * size + left) * 3;
            pixels[start..start + row.len()].copy_from_slice(row);
        }
        Image { width: self.size, height: self.size, pixels }
    }
}

/// `n / 2` rounded to nearest, ties to the even number.
fn half_to_even(n: u32) -> u32 {
    let half = n / 2;
    if n.is_multiple_of(2) { half } else { half + half % 2 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Filter;

    fn contract(crop: Crop) -> Preprocess {
        Preprocess {
            size: 4,
            crop,
            filter: Filter::Bilinear,
            mean: [100.0, 0.0, 50.0],
            std: [50.0, 255.0, 1.0],
            background: [0, 0, 0],
        }
    }

    #[test]
    fn values_are_normalised_by_channel() {
        let image = Image { width: 4, height: 4, pixels: [200, 51, 60].repeat(16) };
        let values = contract(Crop::Stretch).apply(&image);
        // (200 - 100) / 50, (51 - 0) / 255, (60 - 50) / 1
        assert_eq!(values, [2.0, 0.2, 10.0].repeat(16));
    }

    #[test]
    fn a_thin_strip_costs_no_memory() {
        // Resized whole, the long side would be 4 x 60,000 pixels; only four columns are computed.
        let image = Image { width: 60_000, height: 1, pixels: vec![9; 180_000] };
        for crop in [Crop::Centre, Crop::Pad, Crop::Stretch] {
            let square = contract(crop).square(&image);
            assert_eq!((square.width, square.height, square.pixels.len()), (4, 4, 48));
        }
    }

    #[test]
    fn contracts_from_files_are_checked() {
        let good = contract(Crop::Pad);
        assert_eq!(good.check(), Ok(()));
        let check = |change: fn(&mut Preprocess)| {
            let mut bad = good.clone();
            change(&mut bad);
            bad.check().unwrap_err().to_string()
        };
        assert!(check(|p| p.size = 0).starts_with("preprocess.size is 0"));
        assert!(check(|p| p.size = u32::MAX).contains("1 to 4096"));
        assert!(check(|p| p.std[1] = 0.0).starts_with("preprocess.std"));
        assert!(check(|p| p.mean[2] = f32::NAN).starts_with("preprocess.mean"));
    }
}
