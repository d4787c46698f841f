//! Sums in the registers of AVX-512 with VNNI.

use super::{AHEAD, Sum};
use std::arch::x86_64::*;

/// Rows summed at once.
const MANY: usize = 4;

/// See `Isa::dot_bytes`.
///
/// # Safety
/// The lengths are equal; needs AVX-512 BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2")]
pub(super) unsafe fn one<S: Sum>(a: &[S::Item], b: &[S::Item]) -> i32 {
    // SAFETY: the caller's.
    unsafe { S::vnni::<1>(a, S::correction(a), [b.as_ptr()])[0] }
}

/// See `Isa::dots_bytes`.
///
/// # Safety
/// `rows` holds `out.len()` rows; needs AVX-512 BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2")]
pub(super) unsafe fn many<S: Sum>(query: &[S::Item], rows: &[S::Item], out: &mut [i32]) {
    let correction = S::correction(query);
    for (group, out) in out.chunks_mut(MANY).enumerate() {
        let start = rows[group * MANY * query.len()..].as_ptr();
        let mut from = [start; MANY];
        for (r, from) in from.iter_mut().enumerate().take(out.len()) {
            *from = start.wrapping_add(r * query.len());
        }
        // SAFETY: `out.len()` rows from `start`, and the first one again in place of missing ones.
        out.copy_from_slice(&unsafe { S::vnni::<MANY>(query, correction, from) }[..out.len()]);
    }
}

/// See `Isa::dots_bytes_at`.
///
/// # Safety
/// Needs AVX-512 BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2")]
pub(super) unsafe fn at<S: Sum>(query: &[S::Item], rows: &[S::Item], ids: &[u32], out: &mut [i32]) {
    let correction = S::correction(query);
    let row = |id: u32| &rows[id as usize * query.len()..][..query.len()];
    for &id in ids.iter().take(AHEAD) {
        crate::prefetch(row(id));
    }
    for (group, (ids_here, out)) in ids.chunks(MANY).zip(out.chunks_mut(MANY)).enumerate() {
        for &id in ids.iter().skip(group * MANY + AHEAD).take(MANY) {
            crate::prefetch(row(id));
        }
        let mut from = [row(ids_here[0]).as_ptr(); MANY];
        for (from, &id) in from.iter_mut().zip(ids_here) {
            *from = row(id).as_ptr();
        }
        // SAFETY: whole rows.
        out.copy_from_slice(&unsafe { S::vnni::<MANY>(query, correction, from) }[..out.len()]);
    }
}

/// The first `len - at` of 64 bytes, or all.
#[inline(always)]
fn mask(len: usize, at: usize) -> u64 {
    if len - at < 64 { (1 << (len - at)) - 1 } else { u64::MAX }
}

/// Adds to `correction` the products of the query and the rows, one side moved by 128.
///
/// # Safety
/// `len` bytes of each must be readable; needs AVX-512 BW and VNNI.
#[inline(always)]
pub(super) unsafe fn dot<const R: usize>(
    signed: bool,
    query: *const u8,
    len: usize,
    correction: i32,
    rows: [*const u8; R],
) -> [i32; R] {
    // SAFETY: masked bytes are not read.
    unsafe {
        let flip = _mm512_set1_epi8(i8::MIN);
        let mut sums = [_mm512_setzero_si512(); R];
        for at in (0..len).step_by(64) {
            let mask = mask(len, at);
            let a = _mm512_maskz_loadu_epi8(mask, query.add(at).cast());
            for r in 0..R {
                // Past the end `a` is zero, so it does not matter that this is not.
                let b = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, rows[r].add(at).cast()), flip);
                let (unsigned, signed) = if signed { (b, a) } else { (a, b) };
                sums[r] = _mm512_dpbusd_epi32(sums[r], unsigned, signed);
            }
        }
        reduce(sums, correction)
    }
}

/// Squared distances.
///
/// # Safety
/// `len` bytes of each must be readable; needs AVX-512 BW and VNNI.
#[inline(always)]
pub(super) unsafe fn l2<const R: usize>(
    signed: bool,
    query: *const u8,
    len: usize,
    rows: [*const u8; R],
) -> [i32; R] {
    // SAFETY: masked bytes are not read.
    unsafe {
        let zero = _mm512_setzero_si512();
        let mut sums = [zero; R];
        for at in (0..len).step_by(64) {
            let mask = mask(len, at);
            let a = _mm512_maskz_loadu_epi8(mask, query.add(at).cast());
            for r in 0..R {
                let b = _mm512_maskz_loadu_epi8(mask, rows[r].add(at).cast());
                let apart = if signed {
                    _mm512_sub_epi8(_mm512_max_epi8(a, b), _mm512_min_epi8(a, b))
                } else {
                    _mm512_sub_epi8(_mm512_max_epu8(a, b), _mm512_min_epu8(a, b))
                };
                let (low, high) = (_mm512_unpacklo_epi8(apart, zero), _mm512_unpackhi_epi8(apart, zero));
                sums[r] = _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(sums[r], low, low), high, high);
            }
        }
        reduce(sums, 0)
    }
}

/// Products of nibbles: below 128, so either side may be the signed one.
///
/// # Safety
/// `len` bytes of each must be readable; needs AVX-512 BW and VNNI.
#[inline(always)]
pub(super) unsafe fn nibble_dot<const R: usize>(
    query: *const u8,
    len: usize,
    rows: [*const u8; R],
) -> [i32; R] {
    // SAFETY: masked bytes are not read.
    unsafe {
        let nibble = _mm512_set1_epi8(15);
        let mut sums = [_mm512_setzero_si512(); R];
        for at in (0..len).step_by(64) {
            let mask = mask(len, at);
            let a = _mm512_maskz_loadu_epi8(mask, query.add(at).cast());
            let (low, high) =
                (_mm512_and_si512(a, nibble), _mm512_and_si512(_mm512_srli_epi16::<4>(a), nibble));
            for r in 0..R {
                let b = _mm512_maskz_loadu_epi8(mask, rows[r].add(at).cast());
                sums[r] = _mm512_dpbusd_epi32(sums[r], _mm512_and_si512(b, nibble), low);
                let b = _mm512_and_si512(_mm512_srli_epi16::<4>(b), nibble);
                sums[r] = _mm512_dpbusd_epi32(sums[r], b, high);
            }
        }
        reduce(sums, 0)
    }
}

/// The sum of each register's lanes, plus `correction`. Lanes may wrap on the way: the whole sum fits.
///
/// # Safety
/// Needs AVX-512F and AVX2.
#[inline(always)]
unsafe fn reduce<const R: usize>(sums: [__m512i; R], correction: i32) -> [i32; R] {
    let mut out = [0; R];
    // SAFETY: the caller has AVX-512F and AVX2.
    unsafe {
        if R == 4 {
            // Four at once: neighbours are added while four registers become one.
            let near = _mm512_add_epi32(
                _mm512_unpacklo_epi32(sums[0], sums[1]),
                _mm512_unpackhi_epi32(sums[0], sums[1]),
            );
            let far = _mm512_add_epi32(
                _mm512_unpacklo_epi32(sums[2], sums[3]),
                _mm512_unpackhi_epi32(sums[2], sums[3]),
            );
            let all = _mm512_add_epi32(_mm512_unpacklo_epi64(near, far), _mm512_unpackhi_epi64(near, far));
            let half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64::<1>(all));
            let four = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
            let four = _mm_add_epi32(four, _mm_set1_epi32(correction));
            _mm_storeu_si128(out.as_mut_ptr().cast(), four);
        } else {
            for r in 0..R {
                out[r] = _mm512_reduce_add_epi32(sums[r]).wrapping_add(correction);
            }
        }
    }
    out
}
