//! Sums in the registers of aarch64.

use super::{BLOCK, Sums};
use crate::line::Line;
use std::arch::aarch64::*;

/// Rows 0..8, 8..16, 16..24 and 24..32 as 16-bit lanes.
#[derive(Clone, Copy)]
pub(super) struct Sums128([uint16x8_t; 4]);

// SAFETY (below): the contract of `Sums` is that the caller holds the token of the instruction set and
// that the chunks and lines are readable; the intrinsics ask for nothing else.

impl Sums for Sums128 {
    #[inline(always)]
    unsafe fn of<const Q: usize, const D: bool>(
        block: *const u8,
        lines: usize,
        tables: [*const Line; Q],
        biases: [u16; Q],
    ) -> [Self; Q] {
        // SAFETY: see the head of the impl.
        unsafe {
            let mut sums = [Self([vdupq_n_u16(0); 4]); Q];
            for q in 0..Q {
                sums[q] = Self([vdupq_n_u16(biases[q]); 4]);
            }
            for line in 0..lines {
                let dealt = vld4q_u8(block.add(64 * line));
                let parts = [dealt.0, dealt.1, dealt.2, dealt.3];
                for (part, codes) in parts.into_iter().enumerate() {
                    let low = vandq_u8(codes, vdupq_n_u8(15));
                    let high = vshrq_n_u8::<4>(codes);
                    for q in 0..Q {
                        let table = vld1q_u8(tables[q].add(line).cast::<u8>().add(16 * part));
                        let (a, b) = (vqtbl1q_u8(table, low), vqtbl1q_u8(table, high));
                        let [s, t, u, v] = sums[q].0;
                        sums[q] = Self([
                            vaddw_u8(s, vget_low_u8(a)),
                            vaddw_high_u8(t, a),
                            vaddw_u8(u, vget_low_u8(b)),
                            vaddw_high_u8(v, b),
                        ]);
                    }
                }
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn within(self, limit: u16) -> u32 {
        // SAFETY: see the head of the impl.
        unsafe {
            let limit = vdupq_n_u16(limit);
            let bits = vld1_u8([1, 2, 4, 8, 16, 32, 64, 128].as_ptr());
            let mut mask = 0;
            for i in 0..4 {
                let within = vmovn_u16(vcleq_u16(self.0[i], limit));
                mask |= u32::from(vaddv_u8(vand_u8(within, bits))) << (8 * i);
            }
            mask
        }
    }

    #[inline(always)]
    unsafe fn store(self) -> [u16; BLOCK] {
        let mut out = [0; BLOCK];
        for i in 0..4 {
            // SAFETY: see the head of the impl; `out` has room for four registers.
            unsafe { vst1q_u16(out.as_mut_ptr().add(8 * i), self.0[i]) };
        }
        out
    }
}
