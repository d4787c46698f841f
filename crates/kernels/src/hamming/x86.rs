//! Distances in the registers of x86-64.

use super::{Distances, GROUP};
use std::arch::x86_64::*;

/// 64-bit lanes in row order: AVX-512 with VPOPCNTDQ.
#[derive(Clone, Copy)]
pub(super) struct Distances512([__m512i; 4]);

/// 64-bit lanes in row order: AVX2.
#[derive(Clone, Copy)]
pub(super) struct Distances256([__m256i; 8]);

// SAFETY (both below): the contract of `Distances` is that the caller holds the token of the instruction set
// and that the words are readable; the intrinsics ask for nothing else.

impl Distances for Distances512 {
    #[inline(always)]
    unsafe fn of<const Q: usize>(
        columns: *const u64,
        stride: usize,
        words: usize,
        queries: [*const u64; Q],
    ) -> [Self; Q] {
        // SAFETY: see the head of the impls.
        unsafe {
            let mut sums = [Self([_mm512_setzero_si512(); 4]); Q];
            for w in 0..words {
                let column = columns.add(w * stride);
                for i in 0..4 {
                    let rows = _mm512_loadu_si512(column.add(8 * i).cast());
                    for q in 0..Q {
                        let query = _mm512_set1_epi64(queries[q].add(w).read() as i64);
                        let count = _mm512_popcnt_epi64(_mm512_xor_si512(rows, query));
                        sums[q].0[i] = _mm512_add_epi64(sums[q].0[i], count);
                    }
                }
            }
            sums
        }
    }

    fn reads_rows(bytes: usize) -> bool {
        bytes == 16 || bytes == 32 || bytes.is_multiple_of(64)
    }

    #[inline(always)]
    unsafe fn of_rows(rows: *const u8, words: usize, query: *const u64) -> Option<Self> {
        // SAFETY: see the head of the impls.
        unsafe {
            match words {
                2 => Some(of_rows::<2>(rows, 1, query)),
                4 => Some(of_rows::<4>(rows, 1, query)),
                words if words % 8 == 0 => Some(of_rows::<8>(rows, words / 8, query)),
                _ => None,
            }
        }
    }

    #[inline(always)]
    unsafe fn load(distances: [u32; GROUP]) -> Self {
        let from = distances.as_ptr();
        // SAFETY: see the head of the impls; there are four times eight distances.
        unsafe {
            let mut lanes = [_mm512_setzero_si512(); 4];
            for (i, lane) in lanes.iter_mut().enumerate() {
                *lane = _mm512_cvtepu32_epi64(_mm256_loadu_si256(from.add(8 * i).cast()));
            }
            Self(lanes)
        }
    }

    #[inline(always)]
    unsafe fn any_within(self, limit: u32) -> bool {
        let [a, b, c, d] = self.0;
        // SAFETY: see the head of the impls.
        unsafe {
            let least = _mm512_min_epu32(_mm512_min_epu32(a, b), _mm512_min_epu32(c, d));
            _mm512_cmple_epu64_mask(least, _mm512_set1_epi64(i64::from(limit))) != 0
        }
    }

    #[inline(always)]
    unsafe fn within(self, limit: u32) -> u32 {
        let mut mask = 0;
        for i in 0..4 {
            // SAFETY: see the head of the impls.
            let part = unsafe { _mm512_cmple_epu64_mask(self.0[i], _mm512_set1_epi64(i64::from(limit))) };
            mask |= u32::from(part) << (8 * i);
        }
        mask
    }

    #[inline(always)]
    unsafe fn store(self) -> [u32; GROUP] {
        let mut out = [0; GROUP];
        for i in 0..4 {
            // SAFETY: see the head of the impls; `out` has room for four times eight.
            unsafe {
                let short = _mm512_cvtepi64_epi32(self.0[i]);
                _mm256_storeu_si256(out.as_mut_ptr().add(8 * i).cast(), short);
            }
        }
        out
    }

    #[inline(always)]
    unsafe fn append(first: u32, mask: u32, to: *mut u32) -> usize {
        let (low, high) = (mask as u16, (mask >> 16) as u16);
        let count = low.count_ones() as usize;
        // SAFETY: see the head of the impls; the second register ends at number 32 of 48 at most. Compressed
        // in the register: compressing stores are slow on some processors.
        unsafe {
            let steps = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            let rows = _mm512_add_epi32(steps, _mm512_set1_epi32(first as i32));
            let later = _mm512_add_epi32(rows, _mm512_set1_epi32(16));
            _mm512_storeu_si512(to.cast(), _mm512_maskz_compress_epi32(low, rows));
            _mm512_storeu_si512(to.add(count).cast(), _mm512_maskz_compress_epi32(high, later));
        }
        count + high.count_ones() as usize
    }
}

impl Distances for Distances256 {
    #[inline(always)]
    unsafe fn of<const Q: usize>(
        columns: *const u64,
        stride: usize,
        words: usize,
        queries: [*const u64; Q],
    ) -> [Self; Q] {
        // SAFETY: see the head of the impls.
        unsafe {
            let mut sums = [Self([_mm256_setzero_si256(); 8]); Q];
            for w in 0..words {
                let column = columns.add(w * stride);
                for q in 0..Q {
                    let query = _mm256_set1_epi64x(queries[q].add(w).read() as i64);
                    for i in 0..8 {
                        let rows = _mm256_loadu_si256(column.add(4 * i).cast());
                        let count = bits(_mm256_xor_si256(rows, query));
                        sums[q].0[i] = _mm256_add_epi64(sums[q].0[i], count);
                    }
                }
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn load(distances: [u32; GROUP]) -> Self {
        let from = distances.as_ptr();
        // SAFETY: see the head of the impls; there are eight times four distances.
        unsafe {
            let mut lanes = [_mm256_setzero_si256(); 8];
            for (i, lane) in lanes.iter_mut().enumerate() {
                *lane = _mm256_cvtepu32_epi64(_mm_loadu_si128(from.add(4 * i).cast()));
            }
            Self(lanes)
        }
    }

    #[inline(always)]
    unsafe fn any_within(self, limit: u32) -> bool {
        let mut least = self.0[0];
        for i in 1..8 {
            // SAFETY: see the head of the impls. The upper halves of the lanes are zero in all.
            least = unsafe { _mm256_min_epu32(least, self.0[i]) };
        }
        // SAFETY: see the head of the impls.
        unsafe { _mm256_movemask_epi8(_mm256_cmpgt_epi64(least, _mm256_set1_epi64x(i64::from(limit)))) != -1 }
    }

    #[inline(always)]
    unsafe fn within(self, limit: u32) -> u32 {
        let mut beyond = 0;
        for i in 0..8 {
            // SAFETY: see the head of the impls.
            let part = unsafe {
                let greater = _mm256_cmpgt_epi64(self.0[i], _mm256_set1_epi64x(i64::from(limit)));
                _mm256_movemask_pd(_mm256_castsi256_pd(greater))
            };
            beyond |= (part as u32) << (4 * i);
        }
        !beyond
    }

    #[inline(always)]
    unsafe fn store(self) -> [u32; GROUP] {
        let mut lanes = [0u64; GROUP];
        for i in 0..8 {
            // SAFETY: see the head of the impls; `lanes` has room for eight times four.
            unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().add(4 * i).cast(), self.0[i]) };
        }
        let mut out = [0; GROUP];
        for (out, lane) in out.iter_mut().zip(lanes) {
            *out = lane as u32;
        }
        out
    }
}

/// The distances of 32 rows, each of `steps` times `W` words; `W` registers hold eight rows, or for `W = 8`
/// a step of eight rows. Adjacent lanes of a row are added until one is left for each row.
///
/// # Safety
/// The rows and `steps * W` words of the query must be readable; needs AVX-512 with VPOPCNTDQ.
#[inline(always)]
unsafe fn of_rows<const W: usize>(rows: *const u8, steps: usize, query: *const u64) -> Distances512 {
    // SAFETY: the caller's.
    unsafe {
        let every = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
        // The lane of the query that meets each lane of the rows.
        let lanes = _mm512_and_si512(every, _mm512_set1_epi64(W as i64 - 1));
        let mut out = [_mm512_setzero_si512(); 4];
        for (i, out) in out.iter_mut().enumerate() {
            let mut counts = [_mm512_setzero_si512(); W];
            for step in 0..steps {
                let part = _mm512_maskz_loadu_epi64(((1u32 << W) - 1) as u8, query.add(step * W).cast());
                let part = _mm512_permutexvar_epi64(lanes, part);
                for (r, count) in counts.iter_mut().enumerate() {
                    let from = rows.add(64 * (steps * (i * W + r) + step));
                    let differing = _mm512_xor_si512(_mm512_loadu_si512(from.cast()), part);
                    *count = _mm512_add_epi64(*count, _mm512_popcnt_epi64(differing));
                }
            }
            let mut left = W;
            while left > 1 {
                for r in 0..left / 2 {
                    counts[r] = fold(counts[2 * r], counts[2 * r + 1]);
                }
                left /= 2;
            }
            *out = counts[0];
        }
        Distances512(out)
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

/// Set bits of each 64-bit lane: a table of the counts of nibbles, then sums of eight bytes.
///
/// # Safety
/// Needs AVX2.
#[inline(always)]
unsafe fn bits(x: __m256i) -> __m256i {
    // SAFETY: the caller has AVX2.
    unsafe {
        let counts =
            _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
        let nibble = _mm256_set1_epi8(15);
        let low = _mm256_shuffle_epi8(counts, _mm256_and_si256(x, nibble));
        let high = _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi16::<4>(x), nibble));
        _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256())
    }
}
