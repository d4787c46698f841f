//! Which rows differ from a query's code in few bits.

use super::{BLOCK, Codes};
use crate::Isa;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_set1_epi8,
    _mm512_cmple_epu8_mask, _mm512_loadu_si512, _mm512_set1_epi8,
};
use std::ops::Range;

/// Lets rows through whose code differs in few bits from the query's.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a> {
    /// As long as a row.
    pub code: &'a [u8],
    /// Bits in which a row may differ.
    pub limit: u32,
    /// So many of the first rows of the scan pass, however much they differ.
    pub open: usize,
}

impl Gate<'_> {
    /// Writes which rows of `blocks` pass, a word a block, and returns how many differ in few bits.
    pub(super) fn passed(&self, isa: Isa, codes: &Codes<'_>, blocks: Range<usize>, masks: &mut [u64]) -> u32 {
        let count = near(isa, codes.blocks(blocks.clone()), self.code, self.limit, masks);
        let open = self.open.div_ceil(BLOCK).min(blocks.end);
        for block in blocks.start..open {
            let rest = self.open - block * BLOCK;
            masks[block - blocks.start] |= if rest < BLOCK { (1 << rest) - 1 } else { u64::MAX };
        }
        count
    }
}

/// Writes the rows within `limit` bits of `code`, for each of `blocks`, and returns their number.
fn near(isa: Isa, blocks: &[u8], code: &[u8], limit: u32, masks: &mut [u64]) -> u32 {
    // Counts that stop at 255 are as good as long as the limit is below.
    let Some(limit) = u8::try_from(limit).ok().filter(|limit| *limit < u8::MAX) else {
        let each = blocks.chunks_exact(BLOCK * code.len()).zip(masks);
        return each
            .map(|(block, mask)| {
                *mask = near_wide(block, code, limit);
                mask.count_ones()
            })
            .sum();
    };
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the token proves AVX-512F, BW, VL, BITALG and POPCNT.
        Isa::Avx512(token) if token.extensions().bitalg => unsafe { avx512(blocks, code, limit, masks) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: both tokens prove AVX2 and POPCNT.
        Isa::Avx2(_) | Isa::Avx512(_) => unsafe { avx2(blocks, code, limit, masks) },
        _ => near_body(blocks, code, masks, |counts| {
            (0..BLOCK).fold(0, |mask, row| mask | u64::from(counts[row] <= limit) << row)
        }),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bitalg,popcnt")]
fn avx512(blocks: &[u8], code: &[u8], limit: u8, masks: &mut [u64]) -> u32 {
    near_body(blocks, code, masks, |counts| {
        // SAFETY: there are 64 counts; the features are present here.
        unsafe {
            let counts = _mm512_loadu_si512(counts.as_ptr().cast());
            _mm512_cmple_epu8_mask(counts, _mm512_set1_epi8(limit as i8))
        }
    })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn avx2(blocks: &[u8], code: &[u8], limit: u8, masks: &mut [u64]) -> u32 {
    near_body(blocks, code, masks, |counts| {
        let [low, high] = [0, 32].map(|at| {
            // SAFETY: there are 64 counts; AVX2 is present here.
            unsafe {
                let counts = _mm256_loadu_si256(counts.as_ptr().add(at).cast());
                let least = _mm256_min_epu8(counts, _mm256_set1_epi8(limit as i8));
                _mm256_movemask_epi8(_mm256_cmpeq_epi8(least, counts)) as u32
            }
        });
        u64::from(low) | u64::from(high) << 32
    })
}

/// The definition, for limits below 255: `within` says which counts are small. Its loops are written so that
/// compilers turn each line into a few vectors; they make a poor job of a mask.
#[inline(always)]
fn near_body(blocks: &[u8], code: &[u8], masks: &mut [u64], within: impl Fn(&[u8; BLOCK]) -> u64) -> u32 {
    let mut count = 0;
    for (block, mask) in blocks.chunks_exact(BLOCK * code.len()).zip(masks) {
        let mut counts = [0u8; BLOCK];
        for (column, &byte) in block.as_chunks::<BLOCK>().0.iter().zip(code) {
            let bits: [u8; BLOCK] = std::array::from_fn(|row| (column[row] ^ byte).count_ones() as u8);
            counts = std::array::from_fn(|row| counts[row].saturating_add(bits[row]));
        }
        *mask = within(&counts);
        count += mask.count_ones();
    }
    count
}

/// As [`near_body`] of one block, for any limit.
fn near_wide(block: &[u8], code: &[u8], limit: u32) -> u64 {
    let mut counts = [0; BLOCK];
    for (column, byte) in block.as_chunks::<BLOCK>().0.iter().zip(code) {
        counts.iter_mut().zip(column).for_each(|(count, row)| *count += (row ^ byte).count_ones());
    }
    (0..BLOCK).fold(0, |mask, row| mask | u64::from(counts[row] <= limit) << row)
}
