//! Decoding pictures, honest and hostile.

use deepembed_data::{DecodeError, Image, Limits, decode};
use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, Rgb, Rgba};
use proptest::prelude::*;
use std::io::Cursor;

const FORMATS: [ImageFormat; 5] =
    [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp];

fn encode(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Left half red, right half blue, 40 x 24.
fn two_halves() -> DynamicImage {
    let picture = ImageBuffer::from_fn(40, 24, |x, _| Rgb(if x < 20 { [255u8, 0, 0] } else { [0, 0, 255] }));
    picture.into()
}

/// Something that does not compress to nothing.
fn noise() -> DynamicImage {
    ImageBuffer::from_fn(40, 24, |x, y| {
        let value = x.wrapping_mul(2_654_435_761).wrapping_add(y.wrapping_mul(40_503_771)) >> 7;
        Rgb(value.to_le_bytes()[..3].try_into().unwrap())
    })
    .into()
}

fn plain(bytes: &[u8]) -> Result<Image, DecodeError> {
    decode(bytes, [255; 3], &Limits::default())
}

fn at(image: &Image, x: u32, y: u32) -> [u8; 3] {
    let start = ((y * image.width + x) * 3) as usize;
    image.pixels[start..start + 3].try_into().unwrap()
}

fn near(a: [u8; 3], b: [u8; 3]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.abs_diff(b) < 12)
}

#[test]
fn every_format_decodes_to_the_same_picture() {
    for format in FORMATS {
        let image = plain(&encode(&two_halves(), format)).unwrap();
        assert_eq!((image.width, image.height, image.pixels.len()), (40, 24, 40 * 24 * 3), "{format:?}");
        assert!(near(at(&image, 4, 12), [255, 0, 0]) && near(at(&image, 35, 12), [0, 0, 255]), "{format:?}");
    }
}

#[test]
fn transparent_pixels_lie_on_the_background() {
    let picture: DynamicImage =
        ImageBuffer::from_fn(2, 1, |x, _| Rgba(if x == 0 { [200u8, 0, 0, 0] } else { [200, 100, 0, 51] }))
            .into();
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        let image = decode(&encode(&picture, format), [10, 20, 30], &Limits::default()).unwrap();
        // 51 / 255 is one fifth: 200 / 5 + 10 x 4 / 5 = 48, 100 / 5 + 20 x 4 / 5 = 36, 0 + 30 x 4 / 5 = 24
        assert_eq!(image.pixels, [10, 20, 30, 48, 36, 24], "{format:?}");
    }
}

#[test]
fn grey_and_sixteen_bit_pictures_become_rgb() {
    let grey: DynamicImage = ImageBuffer::from_pixel(3, 2, Luma([77u8])).into();
    assert_eq!(plain(&encode(&grey, ImageFormat::Png)).unwrap().pixels, [77; 18]);
    let deep: DynamicImage = ImageBuffer::from_pixel(3, 2, Luma([77u16 * 257])).into();
    assert_eq!(plain(&encode(&deep, ImageFormat::Png)).unwrap().pixels, [77; 18]);
}

#[test]
fn palette_pictures_become_rgb() {
    // A BMP of two pixels, one bit each, with the palette green, red.
    let mut bmp = b"BM".to_vec();
    for value in [66u32, 0, 62, 40, 2, 1, 1 | 1 << 16, 0, 4, 0, 0, 2, 0] {
        bmp.extend(value.to_le_bytes());
    }
    bmp.extend([0, 255, 0, 0, 0, 0, 255, 0]); // blue, green, red, unused
    bmp.extend([0b0100_0000, 0, 0, 0]);
    assert_eq!(plain(&bmp).unwrap().pixels, [0, 255, 0, 255, 0, 0]);
}

#[test]
fn exif_orientation_is_applied() {
    let jpeg = encode(&two_halves(), ImageFormat::Jpeg);
    // One entry in one directory: tag 0x0112 (orientation), type SHORT, count 1.
    let oriented = |orientation: u8| {
        let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xe1];
        bytes.extend((exif.len() as u16 + 2).to_be_bytes());
        bytes.extend(exif);
        bytes.extend(&jpeg[2..]);
        plain(&bytes).unwrap()
    };
    let upright = oriented(1);
    assert_eq!((upright.width, upright.height), (40, 24));
    // 6: the camera was turned, so the left of the file is the top of the scene; 8: it is the bottom.
    for (orientation, top, bottom) in [(6, [255, 0, 0], [0, 0, 255]), (8, [0, 0, 255], [255, 0, 0])] {
        let image = oriented(orientation);
        assert_eq!((image.width, image.height), (24, 40));
        assert!(near(at(&image, 12, 4), top) && near(at(&image, 12, 35), bottom));
    }
    assert!(near(at(&oriented(3), 4, 12), [0, 0, 255]));
    assert!(near(at(&oriented(2), 4, 12), [0, 0, 255]));
}

#[test]
fn cut_files_are_errors() {
    for format in FORMATS {
        let whole = encode(&noise(), format);
        for keep in [whole.len() * 3 / 4, whole.len() / 2, whole.len() / 4] {
            let error =
                plain(&whole[..keep]).err().unwrap_or_else(|| panic!("{format:?}: {keep} bytes decoded"));
            assert!(matches!(error, DecodeError::Damaged(_)), "{format:?}: {error}");
            assert!(!error.to_string().contains('\n'));
        }
    }
}

/// CRC-32 as PNG has it.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

#[test]
fn a_header_that_asks_for_too_much_is_refused() {
    let side = 60_000u32;
    let mut png = encode(&two_halves(), ImageFormat::Png);
    png[16..20].copy_from_slice(&side.to_be_bytes());
    png[20..24].copy_from_slice(&side.to_be_bytes());
    let sum = crc(&png[12..29]).to_be_bytes();
    png[29..33].copy_from_slice(&sum);
    let mut bmp = encode(&two_halves(), ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&side.to_le_bytes());
    bmp[22..26].copy_from_slice(&side.to_le_bytes());
    let mut jpeg = encode(&two_halves(), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 7].copy_from_slice(&(side as u16).to_be_bytes());
    jpeg[frame + 7..frame + 9].copy_from_slice(&(side as u16).to_be_bytes());
    let mut gif = encode(&two_halves(), ImageFormat::Gif);
    gif[6..8].copy_from_slice(&(side as u16).to_le_bytes());
    gif[8..10].copy_from_slice(&(side as u16).to_le_bytes());
    for (name, bytes) in [("png", png), ("bmp", bmp), ("jpeg", jpeg), ("gif", gif)] {
        let error = plain(&bytes).unwrap_err();
        assert!(
            matches!(error, DecodeError::TooLarge { width: 60_000, height: 60_000, .. }),
            "{name}: {error}"
        );
    }
    let small = Limits { side: 100, pixels: 500 };
    let error = decode(&encode(&two_halves(), ImageFormat::WebP), [0; 3], &small).unwrap_err();
    assert!(matches!(error, DecodeError::TooLarge { width: 40, height: 24, .. }), "{error}");
}

#[test]
fn other_bytes_are_no_picture() {
    for bytes in [&b""[..], b"hello", b"<svg></svg>", &[0; 5000]] {
        assert!(matches!(plain(bytes), Err(DecodeError::Format)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_bytes_never_panic(
        format in 0..FORMATS.len(),
        keep in 0.0..=1.0f64,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
    ) {
        let mut bytes = encode(&noise(), FORMATS[format]);
        bytes.truncate((bytes.len() as f64 * keep) as usize);
        if !bytes.is_empty() {
            for (place, value) in changes {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
        }
        // Small limits keep the test quick; what decodes must be a whole picture.
        if let Ok(image) = decode(&bytes, [0; 3], &Limits { side: 2000, pixels: 1_000_000 }) {
            prop_assert_eq!(image.pixels.len(), (image.width * image.height * 3) as usize);
        }
    }
}
