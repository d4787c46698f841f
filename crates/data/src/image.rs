//! A decoded picture.

/// Upright RGB pixels, 8 bits a channel, row-major, no padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Columns, pixels.
    pub width: u32,
    /// Rows, pixels.
    pub height: u32,
    /// `height x width x 3` bytes.
    pub pixels: Vec<u8>,
}
