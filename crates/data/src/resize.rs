//! Antialiased resizing with the arithmetic of Pillow, bit for bit.
//!
//! Columns are resized first, then rows, which is Pillow's order up to version 12. Later versions begin with the
//! cheaper of the two; where that is the rows, photographs differ by one level of 255 (bilinear) or a few
//! (bicubic, where clipping bites).
//!
//! Notation: an output pixel at `x` looks at the input around `(x + 0.5) * scale`, `scale = input / output`; the
//! filter is stretched by `max(scale, 1)`, so shrinking averages. Weights are integers of 22 fractional bits; the
//! horizontal pass rounds to 8 bits before the vertical pass reads it.
//! Source: the behaviour of Pillow's `Image.resize`, which `golden/resize.py` records.

use crate::{Filter, Image};
use std::ops::Range;

/// Fractional bits of a weight: 8 bits of value and 2 of head room for overshoot stay free in 32.
const BITS: u32 = 22;

/// Resizes to `width x height` pixels.
///
/// # Panics
/// When a side is zero or `image.pixels` is not `height x width x 3` bytes.
#[must_use]
pub fn resize(image: &Image, width: u32, height: u32, filter: Filter) -> Image {
    resize_part(image, (width, height), (0..width, 0..height), filter)
}

/// The part `columns`, `rows` of the picture resized to `full` (width, height). Only that part is computed, so a
/// long thin picture whose middle is wanted costs no more than the middle.
pub(crate) fn resize_part(
    image: &Image,
    full: (u32, u32),
    (columns, rows): (Range<u32>, Range<u32>),
    filter: Filter,
) -> Image {
    let (width, height) = (image.width as usize, image.height as usize);
    assert!(width > 0 && height > 0 && full.0 > 0 && full.1 > 0, "a picture side is zero");
    assert_eq!(image.pixels.len(), width * height * 3, "pixels are not height x width x 3");
    let (across, down) = (columns.len(), rows.len());
    let horizontal = Weights::new(image.width, full.0, columns.clone(), filter);
    let vertical = Weights::new(image.height, full.1, rows.clone(), filter);
    // Rows of the input that the vertical pass will read.
    let needed = vertical.reach();
    let source = &image.pixels[needed.start * width * 3..needed.end * width * 3];
    let narrow = if full.0 == image.width && columns == (0..full.0) {
        source.to_vec()
    } else {
        shrink_rows(source, width, &horizontal)
    };
    let pixels = if full.1 == image.height && rows == (0..full.1) {
        narrow
    } else {
        mix_rows(&narrow, across * 3, needed.start, &vertical)
    };
    Image { width: across as u32, height: down as u32, pixels }
}

/// Weights of every output position along one side.
struct Weights {
    /// First input position and range in `values`, an output position each.
    spans: Vec<(usize, Range<usize>)>,
    values: Vec<i32>,
}

impl Weights {
    fn new(input: u32, output: u32, wanted: Range<u32>, filter: Filter) -> Self {
        let scale = f64::from(input) / f64::from(output);
        let stretch = scale.max(1.0);
        let support = radius(filter) * stretch;
        let mut spans = Vec::with_capacity(wanted.len());
        let mut values = Vec::new();
        let mut exact = Vec::new();
        for position in wanted {
            let centre = (f64::from(position) + 0.5) * scale;
            // Truncation towards zero, as the original does; the clamp makes it the same as a floor.
            let first = (centre - support + 0.5).max(0.0) as usize;
            let last = ((centre + support + 0.5) as usize).min(input as usize);
            exact.clear();
            exact.extend((first..last).map(|x| value(filter, (x as f64 - centre + 0.5) / stretch)));
            let sum: f64 = exact.iter().sum();
            let start = values.len();
            values.extend(exact.iter().map(|&weight| fixed(if sum == 0.0 { weight } else { weight / sum })));
            spans.push((first, start..values.len()));
        }
        Self { spans, values }
    }

    /// Input positions that any output position reads.
    fn reach(&self) -> Range<usize> {
        let start = self.spans.iter().map(|(first, _)| *first).min().unwrap_or(0);
        let end = self.spans.iter().map(|(first, range)| first + range.len()).max().unwrap_or(0);
        start..end
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.spans.iter().map(|(first, range)| (*first, &self.values[range.clone()]))
    }
}

/// Half the width of the filter when it is not stretched, pixels.
fn radius(filter: Filter) -> f64 {
    match filter {
        Filter::Bilinear => 1.0,
        Filter::Bicubic => 2.0,
    }
}

/// The filter at distance `x`.
fn value(filter: Filter, x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    match filter {
        Filter::Bilinear if x < 1.0 => 1.0 - x,
        Filter::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        Filter::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        Filter::Bilinear | Filter::Bicubic => 0.0,
    }
}

/// Rounds half away from zero.
fn fixed(weight: f64) -> i32 {
    (weight * f64::from(1 << BITS) + 0.5f64.copysign(weight)) as i32
}

fn clip(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

/// Half a unit, so that the shift rounds to nearest.
const HALF: i32 = 1 << (BITS - 1);

/// The horizontal pass, row by row.
fn shrink_rows(pixels: &[u8], width: usize, weights: &Weights) -> Vec<u8> {
    let mut out = Vec::with_capacity(pixels.len() / width * weights.spans.len());
    for row in pixels.chunks_exact(width * 3) {
        for (first, weights) in weights.iter() {
            let mut sums = [HALF; 3];
            for (pixel, weight) in row[first * 3..].chunks_exact(3).zip(weights) {
                sums[0] += i32::from(pixel[0]) * weight;
                sums[1] += i32::from(pixel[1]) * weight;
                sums[2] += i32::from(pixel[2]) * weight;
            }
            out.extend(sums.map(clip));
        }
    }
    out
}

/// The vertical pass: each output row is a weighted sum of whole input rows. `start` is the input row that `rows`
/// begins with.
fn mix_rows(rows: &[u8], stride: usize, start: usize, weights: &Weights) -> Vec<u8> {
    let mut out = Vec::with_capacity(stride * weights.spans.len());
    let mut sums = vec![0i32; stride];
    for (first, weights) in weights.iter() {
        sums.fill(HALF);
        for (row, &weight) in rows[(first - start) * stride..].chunks_exact(stride).zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += i32::from(value) * weight;
            }
        }
        out.extend(sums.iter().map(|&sum| clip(sum)));
    }
    out
}
