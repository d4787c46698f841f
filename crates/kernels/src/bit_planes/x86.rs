//! Products of bit planes in the registers of AVX-512 with VPOPCNTDQ.

use super::{GROUP, Planes};
use crate::block::{Block, LANES};
use crate::x86::Block256;
use std::arch::x86_64::*;

/// See `Isa::bit_products`.
///
/// # Safety
/// `rows` holds `out.len()` rows; needs AVX-512 with VPOPCNTDQ.
#[inline(always)]
pub(super) unsafe fn products(planes: &Planes, rows: &[u8], out: &mut [u32]) {
    // SAFETY: the caller's.
    unsafe {
        match planes.words {
            1 => short::<1>(planes, rows, out),
            2 => short::<2>(planes, rows, out),
            4 => short::<4>(planes, rows, out),
            _ => long(planes, rows, out),
        }
    }
}

/// Rows of `W` words, `8 / W` of them a register, 8 rows a step.
///
/// # Safety
/// As for [`products`].
#[inline(always)]
unsafe fn short<const W: usize>(planes: &Planes, rows: &[u8], out: &mut [u32]) {
    // SAFETY: a step reads eight rows, of which the last step reads a copy; the token is the caller's.
    unsafe {
        // The word of a plane that meets each lane of the rows.
        let lanes =
            _mm512_and_si512(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64(W as i64 - 1));
        let mut query = [_mm512_setzero_si512(); 8];
        let bits = planes.planes.len() / W;
        for (query, plane) in query.iter_mut().zip(planes.planes.chunks_exact(W)) {
            let words = _mm512_maskz_loadu_epi64(((1u32 << W) - 1) as u8, plane.as_ptr().cast());
            *query = _mm512_permutexvar_epi64(lanes, words);
        }
        for (rows, out) in rows.chunks(64 * W).zip(out.chunks_mut(8)) {
            let mut copy = [0; 64 * 4];
            let from = if out.len() == 8 {
                rows.as_ptr()
            } else {
                copy[..rows.len()].copy_from_slice(rows);
                copy.as_ptr()
            };
            let mut sums = [_mm512_setzero_si512(); W];
            for (r, sum) in sums.iter_mut().enumerate() {
                let words = _mm512_loadu_si512(from.add(64 * r).cast());
                // Horner's rule over the planes, the highest first.
                for plane in query[..bits].iter().rev() {
                    let count = _mm512_popcnt_epi64(_mm512_and_si512(words, *plane));
                    *sum = _mm512_add_epi64(_mm512_add_epi64(*sum, *sum), count);
                }
            }
            let mut left = W;
            while left > 1 {
                for r in 0..left / 2 {
                    sums[r] = fold(sums[2 * r], sums[2 * r + 1]);
                }
                left /= 2;
            }
            let mut found = [0; 8];
            _mm256_storeu_si256(found.as_mut_ptr().cast(), _mm512_cvtepi64_epi32(sums[0]));
            out.copy_from_slice(&found[..out.len()]);
        }
    }
}

/// Rows of any number of words, one at a time.
///
/// # Safety
/// As for [`products`].
#[inline(always)]
unsafe fn long(planes: &Planes, rows: &[u8], out: &mut [u32]) {
    let words = planes.words;
    for (row, out) in rows.chunks_exact(8 * words).zip(out) {
        // SAFETY: masked words are not read; the token is the caller's.
        unsafe {
            let mut sum = _mm512_setzero_si512();
            for at in (0..words).step_by(8) {
                let mask = if words - at < 8 { (1 << (words - at)) - 1 } else { u8::MAX };
                let x = _mm512_maskz_loadu_epi64(mask, row.as_ptr().add(8 * at).cast());
                let mut part = _mm512_setzero_si512();
                for plane in planes.planes.chunks_exact(words).rev() {
                    let q = _mm512_maskz_loadu_epi64(mask, plane.as_ptr().add(at).cast());
                    let count = _mm512_popcnt_epi64(_mm512_and_si512(x, q));
                    part = _mm512_add_epi64(_mm512_add_epi64(part, part), count);
                }
                sum = _mm512_add_epi64(sum, part);
            }
            *out = _mm512_reduce_add_epi64(sum) as u32;
        }
    }
}

/// The sums of adjacent lanes of `a`, then of `b`.
///
/// # Safety
/// Needs AVX-512F.
#[inline(always)]
unsafe fn fold(a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the caller has AVX-512F.
    unsafe {
        let even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
        let odd = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
        _mm512_add_epi64(_mm512_permutex2var_epi64(a, even, b), _mm512_permutex2var_epi64(a, odd, b))
    }
}

/// See `Isa::dot_packed`.
///
/// # Safety
/// The row has whole groups for the query; needs AVX-512 BW and VL.
#[inline(always)]
pub(super) unsafe fn dot_packed_512(query: &[f32], row: &[u8], bits: u32) -> f32 {
    // SAFETY: groups are whole; the query's values are read up to its end; the token is the caller's.
    unsafe {
        let mut sums = [_mm512_setzero_ps(); 2];
        for (query, packed) in query.chunks(GROUP).zip(row.chunks_exact(8 * bits as usize)) {
            let codes = unpack_512(packed.as_ptr(), bits);
            let present = if query.len() < GROUP { (1 << query.len()) - 1 } else { u64::MAX };
            let sixteens = [
                _mm512_castsi512_si128(codes),
                _mm512_extracti32x4_epi32::<1>(codes),
                _mm512_extracti32x4_epi32::<2>(codes),
                _mm512_extracti32x4_epi32::<3>(codes),
            ];
            for (i, sixteen) in sixteens.into_iter().enumerate() {
                let mask = (present >> (16 * i)) as u16;
                let values = _mm512_maskz_loadu_ps(mask, query.as_ptr().wrapping_add(16 * i));
                let floats = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(sixteen));
                sums[i % 2] = _mm512_fmadd_ps(values, floats, sums[i % 2]);
            }
        }
        // The lanes folded in halves, as everywhere.
        let all = _mm512_add_ps(sums[0], sums[1]);
        let eight = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps::<1>(all));
        let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}

/// The 64 codes of a group.
///
/// # Safety
/// `8 bits` bytes must be readable; needs AVX-512 BW and VL.
#[inline(always)]
unsafe fn unpack_512(mut packed: *const u8, bits: u32) -> __m512i {
    // SAFETY: the layers take `8 bits` bytes together; the token is the caller's. Shifts pull bits of the
    // byte above into each byte, which the masks drop.
    unsafe {
        let mut codes = _mm512_setzero_si512();
        if bits & 8 != 0 {
            codes = _mm512_loadu_si512(packed.cast());
        }
        if bits & 4 != 0 {
            let layer = _mm512_broadcast_i64x4(_mm256_loadu_si256(packed.cast()));
            let layer = _mm512_srlv_epi64(layer, _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4));
            codes = _mm512_and_si512(layer, _mm512_set1_epi8(15));
            packed = packed.add(32);
        }
        if bits & 2 != 0 {
            let layer = _mm512_broadcast_i32x4(_mm_loadu_si128(packed.cast()));
            let layer = _mm512_srlv_epi64(layer, _mm512_setr_epi64(0, 0, 2, 2, 4, 4, 6, 6));
            let layer = _mm512_and_si512(layer, _mm512_set1_epi8(3));
            codes = _mm512_or_si512(_mm512_slli_epi16::<2>(codes), layer);
            packed = packed.add(16);
        }
        if bits & 1 != 0 {
            let layer = packed.cast::<u64>().read_unaligned();
            let ones = _mm512_maskz_set1_epi8(layer, 1);
            codes = _mm512_or_si512(_mm512_slli_epi16::<1>(codes), ones);
        }
        codes
    }
}

/// See `Isa::dot_packed`.
///
/// # Safety
/// The row has whole groups for the query; needs AVX2 and FMA.
#[inline(always)]
pub(super) unsafe fn dot_packed_256(query: &[f32], row: &[u8], bits: u32) -> f32 {
    // SAFETY: groups are whole; the query's values are read up to its end; the token is the caller's.
    unsafe {
        let mut sum = Block256::zero();
        for (query, packed) in query.chunks(GROUP).zip(row.chunks_exact(8 * bits as usize)) {
            let halves = unpack_256(packed.as_ptr(), bits);
            for (query, half) in query.chunks(LANES).zip(halves) {
                let eights = [
                    _mm256_castsi256_si128(half),
                    _mm_srli_si128::<8>(_mm256_castsi256_si128(half)),
                    _mm256_extracti128_si256::<1>(half),
                    _mm_srli_si128::<8>(_mm256_extracti128_si256::<1>(half)),
                ];
                // The array stays in registers: it is loaded at once.
                let mut floats = [0.0; LANES];
                for (i, eight) in eights.into_iter().enumerate() {
                    let eight = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(eight));
                    _mm256_storeu_ps(floats.as_mut_ptr().add(8 * i), eight);
                }
                let values = if query.len() == LANES {
                    Block256::load(query.as_ptr())
                } else {
                    Block256::load_part(query.as_ptr(), query.len())
                };
                sum = sum.fused(values, Block256::load(floats.as_ptr()));
            }
        }
        sum.sum()
    }
}

/// The 64 codes of a group.
///
/// # Safety
/// `8 bits` bytes must be readable; needs AVX2.
#[inline(always)]
unsafe fn unpack_256(mut packed: *const u8, bits: u32) -> [__m256i; 2] {
    // SAFETY: as for `unpack_512`.
    unsafe {
        let mut codes = [_mm256_setzero_si256(); 2];
        if bits & 8 != 0 {
            codes = [_mm256_loadu_si256(packed.cast()), _mm256_loadu_si256(packed.add(32).cast())];
        }
        if bits & 4 != 0 {
            let layer = _mm256_loadu_si256(packed.cast());
            let nibble = _mm256_set1_epi8(15);
            codes =
                [_mm256_and_si256(layer, nibble), _mm256_and_si256(_mm256_srli_epi16::<4>(layer), nibble)];
            packed = packed.add(32);
        }
        if bits & 2 != 0 {
            let layer = _mm256_broadcastsi128_si256(_mm_loadu_si128(packed.cast()));
            let shifts = [_mm256_setr_epi64x(0, 0, 2, 2), _mm256_setr_epi64x(4, 4, 6, 6)];
            for (codes, shift) in codes.iter_mut().zip(shifts) {
                let layer = _mm256_and_si256(_mm256_srlv_epi64(layer, shift), _mm256_set1_epi8(3));
                *codes = _mm256_or_si256(_mm256_slli_epi16::<2>(*codes), layer);
            }
            packed = packed.add(16);
        }
        if bits & 1 != 0 {
            // Byte `i / 8` of four to byte `i`, of which bit `i % 8` is looked at.
            let spread =
                _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
            let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201u64 as i64);
            for (half, codes) in codes.iter_mut().enumerate() {
                let four = packed.cast::<i32>().add(half).read_unaligned();
                let layer = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(four), spread), bit);
                let ones = _mm256_and_si256(_mm256_cmpeq_epi8(layer, bit), _mm256_set1_epi8(1));
                *codes = _mm256_or_si256(_mm256_slli_epi16::<1>(*codes), ones);
            }
        }
        codes
    }
}
