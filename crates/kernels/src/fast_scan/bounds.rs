//! Sums of saturating bytes, which rule rows out at half the price of 16-bit sums.
//!
//! Let `reach` be the limit less the bias and the parts' smallest entries. Entry `t` of a part becomes the byte
//! `min(255, floor(254 (t - least) / reach))`. Bytes round down, hence those of a wanted row sum to at most
//! `254`, and to at most `floor(254 now / reach)` once the reach has fallen to `now`. The rows that are left are
//! added up exactly.
//! Source: André, Kermarrec and Le Scouarnec, VLDB 2015.

use super::{ENTRIES, Table};
use crate::line::Line;

/// The largest byte sum of a wanted row; 255 stands for all that is more.
const MOST: f32 = 254.0;
/// Bytes are made anew when the reach has fallen below this share: the bounds get looser meanwhile.
const STALE: f32 = 0.95;

/// The bytes of one query.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    /// As the lines of its table.
    pub(super) lines: Vec<Line>,
    /// What they were made for.
    reach: f32,
}

impl Bounds {
    /// The largest sum of bytes that a row within `limit` can have, after making the bytes anew where they are
    /// stale; none where bounds cannot help: every row is within the limit, or none is.
    #[inline(always)]
    pub(super) fn cut(&mut self, table: &Table, bias: u16, limit: u16) -> Option<u8> {
        let least = u32::from(bias) + u32::from(table.least);
        if u32::from(limit) < least || u32::from(limit) >= u32::from(bias) + u32::from(table.most) {
            return None;
        }
        let now = (u32::from(limit) - least) as f32;
        if self.lines.is_empty() || now < STALE * self.reach {
            self.make(table, now);
        }
        // No byte but zero stands for a reach of zero.
        Some(if now > 0.0 { (MOST * now / self.reach + 1e-3) as u8 } else { 0 })
    }

    #[inline(always)]
    fn make(&mut self, table: &Table, reach: f32) {
        /// More than the roundings of `f32` can raise a value below 256 by.
        const ROUNDING: f32 = 1e-4;
        self.reach = reach;
        self.lines.resize(table.lines.len(), Line([0; 64]));
        // Any entry above the least is too much for a reach of zero.
        let scale = MOST / reach.max(0.5);
        for (line, bytes) in table.lines.iter().zip(&mut self.lines) {
            let (parts, _) = line.0.as_chunks::<ENTRIES>();
            let (bytes, _) = bytes.0.as_chunks_mut::<ENTRIES>();
            for (part, bytes) in parts.iter().zip(bytes) {
                let least = smallest(part);
                for (&entry, byte) in part.iter().zip(bytes) {
                    let scaled = f32::from(entry - least) * scale - ROUNDING;
                    *byte = scaled.clamp(0.0, 255.0) as i32 as u8;
                }
            }
        }
    }
}

/// The smallest entry of a part.
#[inline(always)]
pub(super) fn smallest(part: &[u8; ENTRIES]) -> u8 {
    part.iter().fold(u8::MAX, |least, &entry| least.min(entry))
}
