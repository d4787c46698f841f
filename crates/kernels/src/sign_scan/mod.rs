//! Estimated distances to 32 neighbours at once, from the signs of their residuals.
//!
//! | sign | is |
//! |---|---|
//! | `q` | a query: `dims` values, a multiple of 16 |
//! | `s` | the signs of a neighbour's residual, each 1 or -1, one bit a dimension |
//! | `a`, `b` | two numbers of a neighbour, kept as `bf16` |
//! | `t` | `<s, q>`, as the [`SignTable`] of `q` gives it |
//!
//! The estimate is `base + a - b t`. Signs go in parts of four dimensions; a table of 16 bytes a part holds
//! what each pattern of signs adds to `<s, q>`, rounded to one step for the whole query. Sums of bytes are
//! exact and the few operations in `f32` that follow have one order, so every instruction set gives the same
//! estimates.
//!
//! A block of 32 neighbours is a sequence of 64-byte chunks, one for each 4 parts: byte `4 v + t` of chunk
//! `c` has part `4 c + t` of neighbour `v` in its low nibble and of neighbour `16 + v` in its high one, as in
//! [`fast_scan`](crate::fast_scan), whose scan gives sums where this one goes on to the estimates.
//! Source: Gou et al., SIGMOD 2025 (signs of neighbours beside a node).

#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::Isa;
use crate::line::Line;

/// Neighbours of a block.
pub const BLOCK: usize = 32;
/// Dimensions of a part, and of a chunk.
const PART: usize = 4;
const CHUNK: usize = 16;

/// Bytes of the signs of a block: 32 neighbours of `dims` bits.
///
/// # Panics
/// When `dims` is no multiple of 16.
#[must_use]
pub fn signs_len(dims: usize) -> usize {
    assert!(dims.is_multiple_of(CHUNK), "{dims} dimensions are not whole chunks of {CHUNK}");
    dims * BLOCK / 8
}

/// Writes the signs of `residual` as neighbour `slot` of a block; zero counts as positive.
///
/// # Panics
/// When `signs` is not [`signs_len`] bytes or `slot` is not below 32.
pub fn set_signs(signs: &mut [u8], slot: usize, residual: &[f32]) {
    assert!(slot < BLOCK && signs.len() == signs_len(residual.len()), "a slot of a block");
    let (v, high) = (slot % 16, slot >= 16);
    for (chunk, values) in signs.chunks_exact_mut(64).zip(residual.chunks_exact(CHUNK)) {
        for (byte, part) in chunk[4 * v..4 * v + 4].iter_mut().zip(values.as_chunks::<PART>().0) {
            let nibble = part.iter().rev().fold(0, |bits, &value| bits << 1 | u8::from(value >= 0.0));
            *byte = if high { *byte & 15 | nibble << 4 } else { *byte & 0xf0 | nibble };
        }
    }
}

/// What each pattern of four signs adds to `<s, q>`.
#[derive(Clone, Debug, Default)]
pub struct SignTable {
    /// 64 bytes a chunk: the 16 bytes of each of its four parts.
    lines: Vec<Line>,
    step: f32,
    low: f32,
}

impl SignTable {
    /// Makes this the table of a query.
    ///
    /// # Panics
    /// When the query is not whole chunks of 16 dimensions.
    pub fn set(&mut self, isa: Isa, query: &[f32]) {
        assert!(query.len().is_multiple_of(CHUNK), "{} dimensions are not whole chunks", query.len());
        self.lines.clear();
        self.lines.resize(query.len() / CHUNK, Line([0; 64]));
        match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves AVX-512F; there is a line a chunk.
            Isa::Avx512(_) => unsafe { x86::set_512(self, query) },
            _ => self.fill(query, entries),
        }
    }

    /// The definition, but for the sums of a part, each times a number.
    #[inline(always)]
    fn fill(&mut self, query: &[f32], entries: impl Fn([f32; PART], f32) -> [u8; 16]) {
        let (mut widest, mut low) = (0f32, 0f32);
        for part in query.as_chunks::<PART>().0 {
            let sum = part.iter().map(|value| value.abs()).sum::<f32>();
            widest = widest.max(sum);
            low -= sum;
        }
        let per = if widest > 0.0 && widest.is_finite() { 127.5 / widest } else { 0.0 };
        (self.step, self.low) = (if per > 0.0 { 1.0 / per } else { 0.0 }, low);
        for (line, values) in self.lines.iter_mut().zip(query.as_chunks::<CHUNK>().0) {
            for (bytes, part) in line.0.as_chunks_mut::<16>().0.iter_mut().zip(values.as_chunks::<PART>().0) {
                *bytes = entries(*part, per);
            }
        }
    }

    /// Dimensions of the query.
    #[must_use]
    pub fn dims(&self) -> usize {
        self.lines.len() * CHUNK
    }
}

/// The 16 sums of a part times `per`, less the least of them, rounded.
#[inline]
fn entries(part: [f32; PART], per: f32) -> [u8; 16] {
    let part = part.map(|value| value * per);
    let least: f32 = part.iter().map(|value| value.abs()).sum();
    let mut sums = [least + 0.5; 16];
    for (bit, value) in part.into_iter().enumerate() {
        for (pattern, sum) in sums.iter_mut().enumerate() {
            *sum += if pattern >> bit & 1 == 1 { value } else { -value };
        }
    }
    // Truncation of what was moved up by a half; casts saturate.
    sums.map(|sum| sum as u8)
}

/// A block of neighbours.
#[derive(Clone, Copy, Debug)]
pub struct SignBlock<'a> {
    /// [`signs_len`] bytes.
    pub signs: &'a [u8],
    /// `a` of each neighbour.
    pub add: &'a [u16; BLOCK],
    /// `b` of each neighbour.
    pub scale: &'a [u16; BLOCK],
}

/// The value of `bf16` bits.
#[inline]
fn wide(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The definition.
fn estimate_plain(table: &SignTable, block: SignBlock<'_>, base: f32, out: &mut [f32; BLOCK]) {
    let mut sums = [0u32; BLOCK];
    for (chunk, line) in block.signs.as_chunks::<64>().0.iter().zip(&table.lines) {
        for (at, &byte) in chunk.iter().enumerate() {
            let entry = |nibble: u8| u32::from(line.0[at % 4 * 16 + usize::from(nibble)]);
            sums[at / 4] += entry(byte & 15);
            sums[16 + at / 4] += entry(byte >> 4);
        }
    }
    for (v, out) in out.iter_mut().enumerate() {
        let t = sums[v] as f32 * table.step + table.low;
        *out = base + wide(block.add[v]) - wide(block.scale[v]) * t;
    }
}

impl Isa {
    /// The estimated distances to the neighbours of `block`, and a mask of those at most `bound` (bit `v` for
    /// neighbour `v`; none that is NaN).
    ///
    /// # Panics
    /// When `block` was made for another number of dimensions than `table`.
    #[must_use]
    #[inline]
    pub fn estimate_block(
        self,
        table: &SignTable,
        block: SignBlock<'_>,
        base: f32,
        bound: f32,
        out: &mut [f32; BLOCK],
    ) -> u32 {
        assert_eq!(block.signs.len(), 64 * table.lines.len(), "signs and table of the same dimensions");
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves AVX-512F, BW, VBMI and VNNI; there is a line a chunk.
            Self::Avx512(token) if token.extensions().vnni && token.extensions().vbmi => unsafe {
                x86::estimate_512(table, block, base, bound, out)
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: both tokens prove AVX2; there is a line a chunk.
            Self::Avx2(_) | Self::Avx512(_) => unsafe { x86::estimate_256(table, block, base, bound, out) },
            _ => {
                estimate_plain(table, block, base, out);
                (0..BLOCK).fold(0, |mask, v| mask | u32::from(out[v] <= bound) << v)
            }
        }
    }

    /// Of a residual `r` and a vector `p` of as many values: `<r, r>`, the sum of `|r|`, and the sum of `p`
    /// with the signs of `r` (zero counts as positive).
    ///
    /// # Panics
    /// When the lengths differ or are no multiple of 16.
    #[must_use]
    pub fn sign_sums(self, residual: &[f32], p: &[f32]) -> [f32; 3] {
        assert!(residual.len() == p.len() && p.len().is_multiple_of(CHUNK), "whole chunks of one length");
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: both tokens prove AVX2.
            Self::Avx2(_) | Self::Avx512(_) => unsafe { x86::sign_sums(residual, p) },
            _ => sign_sums_plain(residual, p),
        }
    }
}

/// Sixteen lanes, then folded in halves.
#[inline(always)]
fn sign_sums_plain(residual: &[f32], p: &[f32]) -> [f32; 3] {
    let mut lanes = [[0f32; CHUNK]; 3];
    for (r, p) in residual.as_chunks::<CHUNK>().0.iter().zip(p.as_chunks::<CHUNK>().0) {
        for i in 0..CHUNK {
            lanes[0][i] += r[i] * r[i];
            lanes[1][i] += r[i].abs();
            lanes[2][i] += if r[i] >= 0.0 { p[i] } else { -p[i] };
        }
    }
    lanes.map(|mut lanes| {
        let mut width = CHUNK;
        while width > 1 {
            width /= 2;
            for i in 0..width {
                lanes[i] += lanes[i + width];
            }
        }
        lanes[0]
    })
}
