//! Distances in the registers of aarch64.

use super::{Distances, GROUP};
use std::arch::aarch64::*;

/// 32-bit lanes in row order: NEON.
#[derive(Clone, Copy)]
pub(super) struct Distances128([uint32x4_t; 8]);

// SAFETY (below): the contract of `Distances` is that the caller holds the token of the instruction set and
// that the words are readable; the intrinsics ask for nothing else.

impl Distances for Distances128 {
    #[inline(always)]
    unsafe fn of<const Q: usize>(
        columns: *const u64,
        stride: usize,
        words: usize,
        queries: [*const u64; Q],
    ) -> [Self; Q] {
        // SAFETY: see the head of the impl. Loads are of bytes: columns need not be aligned.
        unsafe {
            let mut sums = [Self([vdupq_n_u32(0); 8]); Q];
            for w in 0..words {
                let column = columns.add(w * stride);
                for q in 0..Q {
                    let query = vreinterpretq_u8_u64(vdupq_n_u64(queries[q].add(w).read()));
                    for i in 0..8 {
                        let low = vld1q_u8(column.add(4 * i).cast());
                        let high = vld1q_u8(column.add(4 * i + 2).cast());
                        // Pairwise sums of the counts of two rows each: 16 bytes become 8, 4, then 2.
                        let low = vpaddlq_u8(vcntq_u8(veorq_u8(low, query)));
                        let high = vpaddlq_u8(vcntq_u8(veorq_u8(high, query)));
                        sums[q].0[i] = vpadalq_u16(sums[q].0[i], vpaddq_u16(low, high));
                    }
                }
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn load(distances: [u32; GROUP]) -> Self {
        // SAFETY: see the head of the impl; there are eight times four distances.
        unsafe {
            let mut lanes = [vdupq_n_u32(0); 8];
            for (i, lane) in lanes.iter_mut().enumerate() {
                *lane = vld1q_u32(distances.as_ptr().add(4 * i));
            }
            Self(lanes)
        }
    }

    #[inline(always)]
    unsafe fn any_within(self, limit: u32) -> bool {
        // SAFETY: see the head of the impl.
        unsafe {
            let mut least = self.0[0];
            for i in 1..8 {
                least = vminq_u32(least, self.0[i]);
            }
            vminvq_u32(least) <= limit
        }
    }

    #[inline(always)]
    unsafe fn within(self, limit: u32) -> u32 {
        let mut mask = 0;
        for i in 0..8 {
            // SAFETY: see the head of the impl.
            unsafe {
                let bits = vld1q_u32([1, 2, 4, 8].as_ptr());
                mask |= vaddvq_u32(vandq_u32(vcleq_u32(self.0[i], vdupq_n_u32(limit)), bits)) << (4 * i);
            }
        }
        mask
    }

    #[inline(always)]
    unsafe fn store(self) -> [u32; GROUP] {
        let mut out = [0; GROUP];
        for i in 0..8 {
            // SAFETY: see the head of the impl; `out` has room for eight times four.
            unsafe { vst1q_u32(out.as_mut_ptr().add(4 * i), self.0[i]) };
        }
        out
    }
}
