//! Resizing against what Pillow recorded (`golden/resize.py`). The stated tolerance is none.

use deepembed_data::{Crop, Filter, Image, Preprocess, resize};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    background: [u8; 3],
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    filter: Filter,
    crop: Option<Crop>,
    from: [u32; 2],
    to: [u32; 2],
}

/// The same formula as in `golden/resize.py`.
fn pattern(width: u32, height: u32) -> Image {
    let mut pixels = Vec::new();
    for y in 0..height {
        for x in 0..width {
            pixels.extend(
                [0, 1, 2]
                    .map(|c| ((x * 37 + y * 101 + c * 59 + x * y * 7 + (x / 5) * (y / 3) * 11) % 256) as u8),
            );
        }
    }
    Image { width, height, pixels }
}

#[test]
fn every_byte_is_pillows() {
    let golden: Golden = serde_json::from_str(include_str!("../../../golden/resize.json")).unwrap();
    let mut rest: &[u8] = include_bytes!("../../../golden/resize.bin");
    for Case { filter, crop, from, to } in golden.cases {
        let image = pattern(from[0], from[1]);
        let got = match crop {
            None => resize(&image, to[0], to[1], filter),
            Some(crop) => Preprocess {
                size: to[0],
                crop,
                filter,
                mean: [0.0; 3],
                std: [1.0; 3],
                background: golden.background,
            }
            .square(&image),
        };
        let (want, later) = rest.split_at((to[0] * to[1] * 3) as usize);
        rest = later;
        let wrong = got.pixels.iter().zip(want).filter(|(a, b)| a != b).count();
        assert_eq!((got.pixels.len(), wrong), (want.len(), 0), "{filter:?} {crop:?} {from:?} -> {to:?}");
    }
    assert!(rest.is_empty(), "the recorded bytes and cases do not match");
}
