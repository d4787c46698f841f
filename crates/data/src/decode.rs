//! Bytes of a picture file to upright RGB.

use crate::Image;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};
use std::io::Cursor;
use thiserror::Error;

/// How large a picture may be, so that a small file cannot ask for all memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest side, pixels.
    pub side: u32,
    /// Width times height, pixels.
    pub pixels: u64,
}

impl Default for Limits {
    /// 16,384 pixels a side, 100 million pixels in total.
    fn default() -> Self {
        Self { side: 16_384, pixels: 100_000_000 }
    }
}

/// Why bytes are not a usable picture.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// The first bytes are those of no known format.
    #[error("not a JPEG, PNG, WebP, GIF or BMP picture")]
    Format,
    /// The header states no pixels.
    #[error("the picture is {width} x {height} pixels, so it is empty")]
    Empty {
        /// Columns stated.
        width: u32,
        /// Rows stated.
        height: u32,
    },
    /// The header states more pixels than allowed; nothing was allocated.
    #[error(
        "the picture is {width} x {height} pixels, more than {side} a side or {pixels} in total; make it smaller"
    )]
    TooLarge {
        /// Columns stated.
        width: u32,
        /// Rows stated.
        height: u32,
        /// [`Limits::side`].
        side: u32,
        /// [`Limits::pixels`].
        pixels: u64,
    },
    /// The file is cut short or damaged.
    #[error("the picture is damaged or cut short: {0}")]
    Damaged(String),
}

/// Decodes JPEG, PNG, WebP, GIF (first frame) or BMP, turns it upright by its EXIF orientation, and lays
/// transparent pixels over `background` (RGB).
///
/// The format is told from the bytes, never from a name.
///
/// # Errors
/// When the format is unknown, the header asks for more than `limits`, or the file is damaged.
pub fn decode(bytes: &[u8], background: [u8; 3], limits: &Limits) -> Result<Image, DecodeError> {
    let reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|_| DecodeError::Format)?;
    if reader.format().is_none() {
        return Err(DecodeError::Format);
    }
    let jpeg = reader.format() == Some(ImageFormat::Jpeg);
    let mut decoder = reader.into_decoder().map_err(|err| damaged(&err))?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(DecodeError::Empty { width, height });
    }
    let Limits { side, pixels } = *limits;
    if width.max(height) > side || u64::from(width) * u64::from(height) > pixels {
        return Err(DecodeError::TooLarge { width, height, side, pixels });
    }
    if jpeg && !jpeg_ends(bytes) {
        return Err(DecodeError::Damaged("the end marker is missing".to_owned()));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|err| match err {
        ImageError::Limits(_) => DecodeError::TooLarge { width, height, side, pixels },
        other => damaged(&other),
    })?;
    picture.apply_orientation(orientation);
    Ok(flatten(picture, background))
}

/// Whether a JPEG reaches its end marker. The decoder fills what is missing of a cut file with grey and calls it a
/// picture; other formats notice by themselves.
fn jpeg_ends(bytes: &[u8]) -> bool {
    let mut at = 2; // after the start marker
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == 0xff)) {
        at += found + 1;
        match bytes.get(at) {
            None => return false,
            Some(0xd9) => return true,
            // Fill bytes; a stuffed zero, restart markers and one without use, none of which has a length.
            Some(0xff) => {}
            Some(0x00 | 0x01 | 0xd0..=0xd8) => at += 1,
            // A segment: skipped whole, since a thumbnail inside has markers of its own.
            Some(_) => match bytes.get(at + 1..at + 3) {
                Some(length) => at += 1 + usize::from(u16::from_be_bytes([length[0], length[1]])),
                None => return false,
            },
        }
    }
    false
}

fn damaged(err: &ImageError) -> DecodeError {
    // Messages of decoders may hold line breaks; ours are one line.
    DecodeError::Damaged(err.to_string().split_whitespace().collect::<Vec<_>>().join(" "))
}

fn flatten(picture: DynamicImage, background: [u8; 3]) -> Image {
    let (width, height) = (picture.width(), picture.height());
    let pixels = if picture.color().has_alpha() {
        over(&picture.into_rgba8(), background)
    } else {
        picture.into_rgb8().into_raw()
    };
    Image { width, height, pixels }
}

/// RGBA over an opaque colour, rounded to nearest.
fn over(rgba: &[u8], background: [u8; 3]) -> Vec<u8> {
    let blend = |value: u8, below: u8, alpha: u8| {
        let sum = u32::from(value) * u32::from(alpha) + u32::from(below) * u32::from(255 - alpha);
        ((sum + 127) / 255) as u8
    };
    rgba.chunks_exact(4)
        .flat_map(|pixel| [0, 1, 2].map(|c| blend(pixel[c], background[c], pixel[3])))
        .collect()
}
