//! Tiny pictures and folders.
#![allow(dead_code, reason = "each test file uses some of these")]

use image::{ImageBuffer, ImageFormat, Rgb};
use std::fs;
use std::io::Cursor;
use std::path::Path;

/// A 16 x 16 picture that differs for every seed.
pub fn picture(seed: u32, format: ImageFormat) -> Vec<u8> {
    let image = ImageBuffer::from_fn(16, 16, |x, y| {
        let value = (x / 4 + 4 * (y / 4) + 16 * seed).wrapping_mul(2_654_435_761) >> 8;
        Rgb([value as u8, (value >> 8) as u8, (value >> 16) as u8])
    });
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub fn png(seed: u32) -> Vec<u8> {
    picture(seed, ImageFormat::Png)
}

/// Writes a file and the folders above it.
pub fn put(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A tar with these entries.
pub fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    archive.into_inner().unwrap()
}
