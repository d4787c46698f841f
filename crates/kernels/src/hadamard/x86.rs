//! Rotations in the registers of x86-64.

use super::{FEW, few_plain, rotate_with};
use std::arch::x86_64::*;

/// See `Isa::rotate`.
///
/// # Safety
/// Needs AVX-512F.
#[target_feature(enable = "avx512f,avx2")]
pub(super) unsafe fn rotate_512(flips: &[u32], values: &mut [f32]) {
    // SAFETY: this function has what the steps need.
    rotate_with(flips, values, |few| unsafe { few_512(few) });
}

/// See `Isa::rotate`.
///
/// # Safety
/// Needs AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn rotate_256(flips: &[u32], values: &mut [f32]) {
    rotate_with(flips, values, few_plain);
}

/// Each step adds to a value, or to its negative in the upper place, the value across: `a + b` and `a + -b`.
///
/// # Safety
/// Needs AVX-512F.
#[inline(always)]
unsafe fn few_512(few: &mut [f32; FEW]) {
    // SAFETY: reads and writes 16 values.
    unsafe {
        let mut x = _mm512_loadu_ps(few.as_ptr());
        x = _mm512_add_ps(_mm512_permute_ps::<0b10_11_00_01>(x), negated(x, 0xaaaa));
        x = _mm512_add_ps(_mm512_permute_ps::<0b01_00_11_10>(x), negated(x, 0xcccc));
        x = _mm512_add_ps(_mm512_shuffle_f32x4::<0b10_11_00_01>(x, x), negated(x, 0xf0f0));
        x = _mm512_add_ps(_mm512_shuffle_f32x4::<0b01_00_11_10>(x, x), negated(x, 0xff00));
        _mm512_storeu_ps(few.as_mut_ptr(), x);
    }
}

/// `x`, with other signs where `mask` has bits.
///
/// # Safety
/// Needs AVX-512F.
#[inline(always)]
unsafe fn negated(x: __m512, mask: __mmask16) -> __m512 {
    // SAFETY: the caller's.
    unsafe {
        let bits = _mm512_castps_si512(x);
        _mm512_castsi512_ps(_mm512_mask_xor_epi32(bits, mask, bits, _mm512_set1_epi32(i32::MIN)))
    }
}
