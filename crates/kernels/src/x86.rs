//! Blocks of the x86-64 instruction sets.

use crate::block::Block;
use std::arch::x86_64::{
    __m128, __m256, __m512, _CMP_LT_OQ, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehl_ps, _mm_shuffle_ps,
    _mm256_add_ps, _mm256_blendv_ps, _mm256_castps256_ps128, _mm256_cmp_ps, _mm256_extractf128_ps,
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps, _mm256_sub_ps,
    _mm512_add_ps, _mm512_castpd_ps, _mm512_castps_pd, _mm512_castps512_ps256, _mm512_cmp_ps_mask,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_mov_ps, _mm512_maskz_loadu_ps, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_shuffle_f64x2, _mm512_storeu_ps, _mm512_sub_ps,
};

/// Four registers of eight lanes: AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Block256([__m256; 4]);

/// Two registers of sixteen lanes: AVX-512F.
#[derive(Clone, Copy)]
pub(crate) struct Block512([__m512; 2]);

// SAFETY (every block below): the contract of `Block` is that the caller holds the token of the
// instruction set and that `from` has the values read; the intrinsics ask for nothing else.

impl Block for Block256 {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see the head of the impls.
        Self([unsafe { _mm256_setzero_ps() }; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see the head of the impls; the offsets stay below 32.
        unsafe {
            Self([
                _mm256_loadu_ps(from),
                _mm256_loadu_ps(from.add(8)),
                _mm256_loadu_ps(from.add(16)),
                _mm256_loadu_ps(from.add(24)),
            ])
        }
    }

    #[inline(always)]
    unsafe fn fused(mut self, a: Self, b: Self) -> Self {
        for i in 0..4 {
            // SAFETY: see the head of the impls.
            self.0[i] = unsafe { _mm256_fmadd_ps(a.0[i], b.0[i], self.0[i]) };
        }
        self
    }

    #[inline(always)]
    unsafe fn minus(mut self, other: Self) -> Self {
        for i in 0..4 {
            // SAFETY: see the head of the impls.
            self.0[i] = unsafe { _mm256_sub_ps(self.0[i], other.0[i]) };
        }
        self
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: see the head of the impls.
        Self([unsafe { _mm256_set1_ps(value) }; 4])
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        for i in 0..4 {
            // SAFETY: see the head of the impls; the offsets stay below 32.
            unsafe { _mm256_storeu_ps(to.add(8 * i), self.0[i]) };
        }
    }

    #[inline(always)]
    unsafe fn keep_less(self, low: &mut Self, at: &mut Self, here: Self) {
        for i in 0..4 {
            // SAFETY: see the head of the impls.
            unsafe {
                let less = _mm256_cmp_ps::<_CMP_LT_OQ>(self.0[i], low.0[i]);
                low.0[i] = _mm256_blendv_ps(low.0[i], self.0[i], less);
                at.0[i] = _mm256_blendv_ps(at.0[i], here.0[i], less);
            }
        }
    }

    #[inline(always)]
    unsafe fn plus(mut self, other: Self) -> Self {
        for i in 0..4 {
            // SAFETY: see the head of the impls.
            self.0[i] = unsafe { _mm256_add_ps(self.0[i], other.0[i]) };
        }
        self
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let [a, b, c, d] = self.0;
        // SAFETY: see the head of the impls.
        unsafe { fold8(_mm256_add_ps(_mm256_add_ps(a, c), _mm256_add_ps(b, d))) }
    }
}

impl Block for Block512 {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see the head of the impls.
        Self([unsafe { _mm512_setzero_ps() }; 2])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see the head of the impls; the offset stays below 32.
        unsafe { Self([_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(16))]) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, len: usize) -> Self {
        let mask = (1u32 << len) - 1;
        let (low, high) = (mask as u16, (mask >> 16) as u16);
        // SAFETY: see the head of the impls; masked lanes are not read.
        unsafe {
            Self([_mm512_maskz_loadu_ps(low, from), _mm512_maskz_loadu_ps(high, from.wrapping_add(16))])
        }
    }

    #[inline(always)]
    unsafe fn fused(self, a: Self, b: Self) -> Self {
        // SAFETY: see the head of the impls.
        unsafe {
            Self([_mm512_fmadd_ps(a.0[0], b.0[0], self.0[0]), _mm512_fmadd_ps(a.0[1], b.0[1], self.0[1])])
        }
    }

    #[inline(always)]
    unsafe fn minus(self, other: Self) -> Self {
        // SAFETY: see the head of the impls.
        unsafe { Self([_mm512_sub_ps(self.0[0], other.0[0]), _mm512_sub_ps(self.0[1], other.0[1])]) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: see the head of the impls.
        Self([unsafe { _mm512_set1_ps(value) }; 2])
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see the head of the impls; the offset stays below 32.
        unsafe {
            _mm512_storeu_ps(to, self.0[0]);
            _mm512_storeu_ps(to.add(16), self.0[1]);
        }
    }

    #[inline(always)]
    unsafe fn keep_less(self, low: &mut Self, at: &mut Self, here: Self) {
        for i in 0..2 {
            // SAFETY: see the head of the impls.
            unsafe {
                let less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0[i], low.0[i]);
                low.0[i] = _mm512_mask_mov_ps(low.0[i], less, self.0[i]);
                at.0[i] = _mm512_mask_mov_ps(at.0[i], less, here.0[i]);
            }
        }
    }

    #[inline(always)]
    unsafe fn plus(mut self, other: Self) -> Self {
        for i in 0..2 {
            // SAFETY: see the head of the impls.
            self.0[i] = unsafe { _mm512_add_ps(self.0[i], other.0[i]) };
        }
        self
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: see the head of the impls. The two steps that halve a register are written with
        // AVX-512F alone: lanes 8..16 come down onto 0..8, then 4..8 onto 0..4.
        unsafe {
            let all = _mm512_add_ps(self.0[0], self.0[1]);
            let swapped = _mm512_castpd_ps(_mm512_shuffle_f64x2::<0b0100_1110>(
                _mm512_castps_pd(all),
                _mm512_castps_pd(all),
            ));
            let eight = _mm512_add_ps(all, swapped);
            fold8(_mm512_castps512_ps256(eight))
        }
    }
}

/// Folds eight lanes 4, 2 and 1 apart.
///
/// # Safety
/// Needs AVX.
#[inline(always)]
unsafe fn fold8(x: __m256) -> f32 {
    // SAFETY: the caller has AVX.
    unsafe { fold4(_mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x))) }
}

/// Folds four lanes 2 and 1 apart.
///
/// # Safety
/// Needs SSE, which every x86-64 has.
#[inline(always)]
unsafe fn fold4(x: __m128) -> f32 {
    // SAFETY: every x86-64 has SSE.
    unsafe {
        let two = _mm_add_ps(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<0b01>(two, two)))
    }
}
