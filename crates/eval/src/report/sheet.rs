//! Many small pictures in one: a sheet of square cells, drawn from by position.

use super::ReportError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ExtendedColorType, ImageEncoder, Rgb, RgbImage, imageops};
use std::collections::HashMap;
use std::io::Cursor;

/// Sides of a cell, pixels: multiples of 8, so that no JPEG block reaches into the next cell.
const SIDES: [u32; 9] = [96, 80, 72, 64, 56, 48, 40, 32, 24];
/// Sides of a thumbnail at most, pixels: a larger one is a mistake or an attack.
const LARGEST: u32 = 4096;

/// Pictures in a grid, as a data URI.
pub(super) struct Sheet {
    /// `data:image/...`.
    pub(super) uri: String,
    columns: usize,
    lines: usize,
    places: HashMap<usize, usize>,
}

impl Sheet {
    /// Draws each of `rows` once, in cells as large as `pixels` in all allow.
    pub(super) fn new(
        rows: impl Iterator<Item = usize>,
        pixels: usize,
        thumb: &dyn Fn(usize) -> Vec<u8>,
    ) -> Result<Self, ReportError> {
        let mut places = HashMap::new();
        for row in rows {
            let next = places.len();
            places.entry(row).or_insert(next);
        }
        let count = places.len().max(1);
        let fits = |side: &u32| (*side as usize).pow(2) * count <= pixels;
        let side = SIDES.into_iter().find(fits).unwrap_or(SIDES[SIDES.len() - 1]);
        let columns = (count as f64).sqrt().ceil() as usize;
        let lines = count.div_ceil(columns);
        let mut sheet = RgbImage::from_pixel(columns as u32 * side, lines as u32 * side, Rgb([255; 3]));
        for (&row, &place) in &places {
            let cell = cell(&thumb(row), side).map_err(|source| ReportError::Thumb { row, source })?;
            let corner =
                ((place % columns) as i64 * i64::from(side), (place / columns) as i64 * i64::from(side));
            imageops::overlay(&mut sheet, &cell, corner.0, corner.1);
        }
        Ok(Self { uri: data_uri(&sheet)?, columns, lines, places })
    }

    /// `background-size` of an element of one cell.
    pub(super) fn size(&self) -> String {
        format!("{}% {}%", self.columns * 100, self.lines * 100)
    }

    /// `background-position` of a picture.
    pub(super) fn position(&self, row: usize) -> String {
        let place = self.places.get(&row).copied().unwrap_or(0);
        let share = |at: usize, of: usize| {
            let percent = format!("{:.3}", 100.0 * at as f64 / of.saturating_sub(1).max(1) as f64);
            percent.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        format!("{}% {}%", share(place % self.columns, self.columns), share(place / self.columns, self.lines))
    }
}

/// One picture centred in its cell, shape kept, transparent parts on white.
fn cell(bytes: &[u8], side: u32) -> Result<RgbImage, image::ImageError> {
    let mut reader = image::ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(LARGEST);
    limits.max_image_height = Some(LARGEST);
    reader.limits(limits);
    let picture = on_white(&reader.decode()?);
    let longest = picture.width().max(picture.height()).max(1);
    let scaled =
        |length: u32| ((u64::from(length) * u64::from(side) / u64::from(longest)) as u32).clamp(1, side);
    let (width, height) = (scaled(picture.width()), scaled(picture.height()));
    let small = imageops::resize(&picture, width, height, imageops::FilterType::Triangle);
    let mut cell = RgbImage::from_pixel(side, side, Rgb([255; 3]));
    imageops::overlay(&mut cell, &small, i64::from((side - width) / 2), i64::from((side - height) / 2));
    Ok(cell)
}

fn on_white(picture: &DynamicImage) -> RgbImage {
    let rgba = picture.to_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [red, green, blue, alpha] = rgba.get_pixel(x, y).0.map(u32::from);
        Rgb([red, green, blue].map(|value| ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8))
    })
}

/// PNG for drawings, which it keeps exactly; JPEG where PNG is much larger, as for photographs.
fn data_uri(sheet: &RgbImage) -> Result<String, ReportError> {
    let (width, height, colour) = (sheet.width(), sheet.height(), ExtendedColorType::Rgb8);
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Best, FilterType::Adaptive)
        .write_image(sheet, width, height, colour)
        .map_err(ReportError::Sheet)?;
    let mut jpeg = Vec::new();
    // Less faithful as long as it is too large: at most a byte for two pixels, a few KiB are always fine.
    for quality in [82, 65, 45, 25] {
        jpeg.clear();
        JpegEncoder::new_with_quality(&mut jpeg, quality)
            .write_image(sheet, width, height, colour)
            .map_err(ReportError::Sheet)?;
        if jpeg.len() <= (width as usize * height as usize / 2).max(8 << 10) {
            break;
        }
    }
    let (kind, bytes) = if png.len() <= jpeg.len() * 3 / 2 { ("png", png) } else { ("jpeg", jpeg) };
    Ok(format!("data:image/{kind};base64,{}", STANDARD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32, colour: impl Fn(u32, u32) -> [u8; 4]) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let picture = image::RgbaImage::from_fn(width, height, |x, y| image::Rgba(colour(x, y)));
        picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn decode(uri: &str) -> RgbImage {
        let bytes = STANDARD.decode(uri.split_once(',').unwrap().1).unwrap();
        image::load_from_memory(&bytes).unwrap().to_rgb8()
    }

    #[test]
    fn pictures_are_found_where_they_were_drawn() {
        let thumb = |row: usize| png(16, 16, |_, _| [row as u8 * 20, 0, 200, 255]);
        let sheet = Sheet::new([3, 5, 3, 8].into_iter(), 3 * 32 * 32, &thumb).unwrap();
        assert_eq!((sheet.size().as_str(), sheet.position(8).as_str()), ("200% 200%", "0% 100%"));
        let drawn = decode(&sheet.uri);
        assert_eq!(drawn.dimensions(), (64, 64));
        assert_eq!(drawn.get_pixel(40, 9).0, [100, 0, 200]); // row 5: second column
        assert_eq!(drawn.get_pixel(9, 40).0, [160, 0, 200]); // row 8: second line
    }

    #[test]
    fn shapes_are_kept_and_glass_lies_on_white() {
        let drawn = cell(&png(20, 10, |_, _| [0, 0, 0, 51]), 40).unwrap();
        assert_eq!(drawn.get_pixel(20, 2).0, [255; 3]); // above the picture
        assert_eq!(drawn.get_pixel(20, 20).0, [204; 3]); // a fifth of black on white
    }

    #[test]
    fn noise_becomes_a_jpeg_and_a_drawing_stays_png() {
        let mut state = 1u32;
        let noise: Vec<u8> = (0..64 * 64 * 3)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8 / 4 + 90
            })
            .collect();
        let noise = RgbImage::from_raw(64, 64, noise).unwrap();
        assert!(data_uri(&noise).unwrap().starts_with("data:image/jpeg"));
        assert!(data_uri(&RgbImage::new(64, 64)).unwrap().starts_with("data:image/png"));
    }

    #[test]
    fn broken_thumbnails_are_named() {
        let Err(error) = Sheet::new([7].into_iter(), 1000, &|_| b"no picture".to_vec()) else { panic!() };
        assert!(error.to_string().starts_with("the thumbnail of picture 7"), "{error}");
    }
}
