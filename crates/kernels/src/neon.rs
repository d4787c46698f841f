//! Blocks of the aarch64 instruction set.

use crate::block::Block;
use std::arch::aarch64::{
    float32x4_t, vaddq_f32, vbslq_f32, vcltq_f32, vdupq_n_f32, vfmaq_f32, vgetq_lane_f32, vld1q_f32,
    vst1q_f32, vsubq_f32,
};

/// Eight registers of four lanes: NEON.
#[derive(Clone, Copy)]
pub(crate) struct Block128([float32x4_t; 8]);

// SAFETY (below): the contract of `Block` is that the caller holds the token of the instruction set
// and that `from` has the values read; the intrinsics ask for nothing else.

impl Block for Block128 {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see the head of the impl.
        Self([unsafe { vdupq_n_f32(0.0) }; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see the head of the impl; the offsets stay below 32.
        unsafe {
            let mut block = Self::zero();
            for i in 0..8 {
                block.0[i] = vld1q_f32(from.add(4 * i));
            }
            block
        }
    }

    #[inline(always)]
    unsafe fn fused(mut self, a: Self, b: Self) -> Self {
        for i in 0..8 {
            // SAFETY: see the head of the impl.
            self.0[i] = unsafe { vfmaq_f32(self.0[i], a.0[i], b.0[i]) };
        }
        self
    }

    #[inline(always)]
    unsafe fn minus(mut self, other: Self) -> Self {
        for i in 0..8 {
            // SAFETY: see the head of the impl.
            self.0[i] = unsafe { vsubq_f32(self.0[i], other.0[i]) };
        }
        self
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: see the head of the impl.
        Self([unsafe { vdupq_n_f32(value) }; 8])
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        for i in 0..8 {
            // SAFETY: see the head of the impl; the offsets stay below 32.
            unsafe { vst1q_f32(to.add(4 * i), self.0[i]) };
        }
    }

    #[inline(always)]
    unsafe fn keep_less(self, low: &mut Self, at: &mut Self, here: Self) {
        for i in 0..8 {
            // SAFETY: see the head of the impl.
            unsafe {
                let less = vcltq_f32(self.0[i], low.0[i]);
                low.0[i] = vbslq_f32(less, self.0[i], low.0[i]);
                at.0[i] = vbslq_f32(less, here.0[i], at.0[i]);
            }
        }
    }

    #[inline(always)]
    unsafe fn plus(mut self, other: Self) -> Self {
        for i in 0..8 {
            // SAFETY: see the head of the impl.
            self.0[i] = unsafe { vaddq_f32(self.0[i], other.0[i]) };
        }
        self
    }

    #[inline(always)]
    unsafe fn sum(mut self) -> f32 {
        // SAFETY: see the head of the impl.
        unsafe {
            for half in [4, 2, 1] {
                for i in 0..half {
                    self.0[i] = vaddq_f32(self.0[i], self.0[i + half]);
                }
            }
            let x = self.0[0];
            (vgetq_lane_f32::<0>(x) + vgetq_lane_f32::<2>(x))
                + (vgetq_lane_f32::<1>(x) + vgetq_lane_f32::<3>(x))
        }
    }
}
