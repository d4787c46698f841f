//! The trivial baseline: a picture's own pixels as its embedding. A trained model that does not beat it has
//! learned nothing.

use crate::{CONTRACT_FORMAT, Contract, Crop, Embed, EmbedError, Filter, Image, Metric, Preprocess};
use rayon::prelude::*;

/// Side of the grey picture, pixels.
const SIDE: u32 = 16;

/// Raw 16 x 16 grey pixels (ITU-R BT.601), scaled to unit length: 256 values.
///
/// A black picture has no direction and gives zeros.
#[derive(Clone, Debug)]
pub struct PixelEmbed {
    contract: Contract,
    hash: String,
}

impl Default for PixelEmbed {
    fn default() -> Self {
        Self::new()
    }
}

impl PixelEmbed {
    /// The baseline; it has no settings.
    #[must_use]
    pub fn new() -> Self {
        let contract = Contract {
            format: CONTRACT_FORMAT,
            preprocess: Preprocess {
                size: SIDE,
                crop: Crop::Stretch,
                filter: Filter::Bilinear,
                mean: [0.0; 3],
                std: [255.0; 3],
                background: [255; 3],
            },
            architecture: "pixels".to_owned(),
            dim: (SIDE * SIDE) as usize,
            metric: Metric::Dot,
            normalised: true,
            training_data: None,
            recipe: None,
            metrics: None,
            licence: "MIT OR Apache-2.0".to_owned(),
        };
        // A struct of numbers and strings always has a JSON form.
        let json = serde_json::to_vec(&contract).unwrap_or_default();
        let hash = blake3::hash(&json).to_hex().to_string();
        Self { contract, hash }
    }

    fn pixels(&self, image: &Image) -> Vec<f32> {
        let square = self.contract.preprocess.square(image);
        let mut values: Vec<f32> = square
            .pixels
            .chunks_exact(3)
            .map(|pixel| f32::from(grey([pixel[0], pixel[1], pixel[2]])))
            .collect();
        // Sums of squares of whole numbers: 256 x 255^2 < 2^24, so the sum is exact.
        let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt();
        if norm > 0.0 {
            values.iter_mut().for_each(|value| *value /= norm);
        }
        values
    }
}

/// ITU-R BT.601 luma, `0.299 R + 0.587 G + 0.114 B`, in 16 fractional bits and rounded.
pub(crate) fn grey([red, green, blue]: [u8; 3]) -> u8 {
    ((u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471 + 0x8000) >> 16) as u8
}

impl Embed for PixelEmbed {
    fn contract(&self) -> &Contract {
        &self.contract
    }

    fn model_hash(&self) -> &str {
        &self.hash
    }

    fn embed(&self, images: &[Image]) -> Result<Vec<f32>, EmbedError> {
        Ok(images.par_iter().flat_map_iter(|image| self.pixels(image)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(colour: [u8; 3]) -> Image {
        Image { width: 3, height: 5, pixels: colour.repeat(15) }
    }

    #[test]
    fn grey_follows_bt_601() {
        // 0.299 x 255 = 76.2, 0.587 x 255 = 149.7, 0.114 x 255 = 29.1
        assert_eq!([grey([255, 0, 0]), grey([0, 255, 0]), grey([0, 0, 255])], [76, 150, 29]);
        assert_eq!([grey([0; 3]), grey([255; 3])], [0, 255]);
    }

    #[test]
    fn rows_have_unit_length_except_black() {
        let embed = PixelEmbed::new();
        let rows = embed.embed(&[flat([9, 200, 40]), flat([0; 3])]).unwrap();
        assert_eq!(rows.len(), 2 * embed.contract().dim);
        // A flat picture points the same way at any brightness: each of 256 values is 1 / 16.
        assert!(rows[..256].iter().all(|value| (value - 1.0 / 16.0).abs() < 1e-6));
        assert!(rows[256..].iter().all(|&value| value == 0.0));
    }

    #[test]
    fn the_hash_is_of_the_contract() {
        assert_eq!(PixelEmbed::new().model_hash(), PixelEmbed::new().model_hash());
        assert_eq!(PixelEmbed::new().model_hash().len(), 64);
    }
}
