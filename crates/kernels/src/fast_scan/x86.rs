//! Sums in the registers of x86-64.

use super::{BLOCK, Sums};
use crate::line::Line;
use std::arch::x86_64::*;

/// Rows 0..16 and 16..32 as 32-bit lanes: AVX-512 with VBMI and VNNI.
#[derive(Clone, Copy)]
pub(super) struct Sums512([__m512i; 2]);

/// Rows 0..16 and 16..32 as 16-bit lanes: AVX2.
#[derive(Clone, Copy)]
pub(super) struct Sums256([__m256i; 2]);

// SAFETY (both below): the contract of `Sums` is that the caller holds the token of the instruction set
// and that the chunks and lines are readable; the intrinsics ask for nothing else.

impl Sums for Sums512 {
    #[inline(always)]
    unsafe fn of<const Q: usize, const D: bool>(
        block: *const u8,
        lines: usize,
        tables: [*const Line; Q],
        biases: [u16; Q],
    ) -> [Self; Q] {
        // SAFETY: see the head of the impls.
        unsafe {
            let nibble = _mm512_set1_epi8(15);
            let ones = _mm512_set1_epi8(1);
            // Which of the four tables of a line a byte looks into: bits 4 and 5 of the index.
            let part = _mm512_set1_epi32(0x3020_1000);
            let mut sums = [[_mm512_setzero_si512(); 2]; Q];
            for q in 0..Q {
                sums[q] = [_mm512_set1_epi32(i32::from(biases[q])); 2];
            }
            for line in 0..lines {
                let codes = _mm512_loadu_si512(block.add(64 * line).cast());
                // (codes & nibble) | part, in one instruction each.
                let low = _mm512_ternarylogic_epi32::<0xea>(codes, nibble, part);
                let high = _mm512_ternarylogic_epi32::<0xea>(_mm512_srli_epi16::<4>(codes), nibble, part);
                for q in 0..Q {
                    let table = _mm512_load_si512(tables[q].add(line).cast());
                    let [a, b] = sums[q];
                    sums[q] = [
                        _mm512_dpbusd_epi32(a, _mm512_permutexvar_epi8(low, table), ones),
                        _mm512_dpbusd_epi32(b, _mm512_permutexvar_epi8(high, table), ones),
                    ];
                }
            }
            let mut out = [Self(sums[0]); Q];
            for q in 0..Q {
                out[q] = Self(sums[q]);
            }
            out
        }
    }

    #[inline(always)]
    unsafe fn within(self, limit: u16) -> u32 {
        // SAFETY: see the head of the impls.
        unsafe {
            let limit = _mm512_set1_epi32(i32::from(limit));
            let low = _mm512_cmple_epu32_mask(self.0[0], limit);
            let high = _mm512_cmple_epu32_mask(self.0[1], limit);
            u32::from(low) | (u32::from(high) << 16)
        }
    }

    #[inline(always)]
    unsafe fn store(self) -> [u16; BLOCK] {
        let mut out = [0; BLOCK];
        // SAFETY: see the head of the impls; `out` has room for both halves.
        unsafe {
            _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(self.0[0]));
            _mm256_storeu_si256(out.as_mut_ptr().add(16).cast(), _mm512_cvtepi32_epi16(self.0[1]));
        }
        out
    }
}

impl Sums for Sums256 {
    const DEALT: usize = 2;
    const BOUNDED: usize = 4;

    #[inline(always)]
    unsafe fn deal(chunks: &[u8], dealt: &mut [Line]) {
        let (lines, _) = dealt.as_chunks_mut::<2>();
        for (chunk, lines) in chunks.chunks_exact(64).zip(lines) {
            // SAFETY: see the head of the impls; chunks and lines have 64 bytes, lines are aligned.
            unsafe {
                for (line, [low, high]) in lines.iter_mut().zip(split(chunk.as_ptr())) {
                    _mm256_store_si256(line.0.as_mut_ptr().cast(), low);
                    _mm256_store_si256(line.0.as_mut_ptr().add(32).cast(), high);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn of<const Q: usize, const D: bool>(
        block: *const u8,
        lines: usize,
        tables: [*const Line; Q],
        biases: [u16; Q],
    ) -> [Self; Q] {
        // SAFETY: see the head of the impls.
        unsafe {
            // Once the odd byte and never the even one: a product where a shift would do, as shifts share
            // their pipes with the look-ups.
            let odd = _mm256_set1_epi16(0x0100);
            // For each query: the even and odd rows' sums of 0..16, then of 16..32. Even bytes pick up the
            // odd ones above them, which are taken off at the end; wrapping does no harm.
            let mut sums = [[_mm256_setzero_si256(); 4]; Q];
            for line in 0..lines {
                let pairs = if D { dealt(block.add(128 * line)) } else { split(block.add(64 * line)) };
                for (half, [low, high]) in pairs.into_iter().enumerate() {
                    for q in 0..Q {
                        let table = _mm256_load_si256(tables[q].add(line).cast::<__m256i>().add(half));
                        let (a, b) = (_mm256_shuffle_epi8(table, low), _mm256_shuffle_epi8(table, high));
                        let [s, t, u, v] = sums[q];
                        sums[q] = [
                            _mm256_add_epi16(s, a),
                            _mm256_add_epi16(t, _mm256_maddubs_epi16(a, odd)),
                            _mm256_add_epi16(u, b),
                            _mm256_add_epi16(v, _mm256_maddubs_epi16(b, odd)),
                        ];
                    }
                }
            }
            let mut out = [Self([odd; 2]); Q];
            for q in 0..Q {
                let [s, t, u, v] = sums[q];
                let bias = _mm256_set1_epi16(biases[q] as i16);
                out[q] = Self([join(bias, s, t), join(bias, u, v)]);
            }
            out
        }
    }

    #[inline(always)]
    unsafe fn any_left<const Q: usize>(
        block: *const u8,
        lines: usize,
        tables: [*const Line; Q],
        cuts: [u8; Q],
    ) -> [bool; Q] {
        // SAFETY: see the head of the impls; dealt lines are aligned.
        unsafe {
            // Rows 0..16 and 16..32, one part in each half.
            let mut sums = [[_mm256_setzero_si256(); 2]; Q];
            for line in 0..lines {
                for (half, [low, high]) in dealt(block.add(128 * line)).into_iter().enumerate() {
                    for q in 0..Q {
                        let table = _mm256_load_si256(tables[q].add(line).cast::<__m256i>().add(half));
                        let [a, b] = sums[q];
                        sums[q] = [
                            _mm256_adds_epu8(a, _mm256_shuffle_epi8(table, low)),
                            _mm256_adds_epu8(b, _mm256_shuffle_epi8(table, high)),
                        ];
                    }
                }
            }
            let mut left = [false; Q];
            for q in 0..Q {
                let [a, b] = sums[q];
                let all = _mm256_adds_epu8(
                    _mm256_permute2x128_si256::<0x20>(a, b),
                    _mm256_permute2x128_si256::<0x31>(a, b),
                );
                let small = _mm256_min_epu8(all, _mm256_set1_epi8(cuts[q] as i8));
                left[q] = _mm256_movemask_epi8(_mm256_cmpeq_epi8(small, all)) != 0;
            }
            left
        }
    }

    #[inline(always)]
    unsafe fn within(self, limit: u16) -> u32 {
        // SAFETY: see the head of the impls.
        unsafe {
            let limit = _mm256_set1_epi16(limit as i16);
            let low = _mm256_cmpeq_epi16(_mm256_min_epu16(self.0[0], limit), self.0[0]);
            let high = _mm256_cmpeq_epi16(_mm256_min_epu16(self.0[1], limit), self.0[1]);
            let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi16(low, high));
            _mm256_movemask_epi8(bytes) as u32
        }
    }

    #[inline(always)]
    unsafe fn store(self) -> [u16; BLOCK] {
        let mut out = [0; BLOCK];
        // SAFETY: see the head of the impls; `out` has room for both halves.
        unsafe {
            _mm256_storeu_si256(out.as_mut_ptr().cast(), self.0[0]);
            _mm256_storeu_si256(out.as_mut_ptr().add(16).cast(), self.0[1]);
        }
        out
    }
}

/// Deals a chunk out to its parts: for each two parts, the low and the high nibbles of 16 bytes of each.
/// Rows run 0, 8, 1, 9, .. 7, 15, so that even bytes are rows 0..8 and odd ones 8..16.
///
/// # Safety
/// 64 bytes must be readable; needs AVX2.
#[inline(always)]
unsafe fn split(chunk: *const u8) -> [[__m256i; 2]; 2] {
    // SAFETY: the caller lets us read 64 bytes and has AVX2.
    unsafe {
        let by_part =
            _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
        let nibble = _mm256_set1_epi8(15);
        let near = _mm256_shuffle_epi8(_mm256_loadu_si256(chunk.cast()), by_part);
        let far = _mm256_shuffle_epi8(_mm256_loadu_si256(chunk.add(32).cast()), by_part);
        let first = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_unpacklo_epi8(near, far));
        let second = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_unpackhi_epi8(near, far));
        [
            [_mm256_and_si256(first, nibble), _mm256_and_si256(_mm256_srli_epi16::<4>(first), nibble)],
            [_mm256_and_si256(second, nibble), _mm256_and_si256(_mm256_srli_epi16::<4>(second), nibble)],
        ]
    }
}

/// What [`split`] made of a chunk, from two lines.
///
/// # Safety
/// Two lines must be readable; needs AVX2.
#[inline(always)]
unsafe fn dealt(lines: *const u8) -> [[__m256i; 2]; 2] {
    let lines = lines.cast::<__m256i>();
    // SAFETY: the caller lets us read four registers and has AVX2.
    unsafe {
        [
            [_mm256_load_si256(lines), _mm256_load_si256(lines.add(1))],
            [_mm256_load_si256(lines.add(2)), _mm256_load_si256(lines.add(3))],
        ]
    }
}

/// The sums of 16 rows: `both` holds even rows plus 256 times `odd`; the two parts lie in the two halves.
///
/// # Safety
/// Needs AVX2.
#[inline(always)]
unsafe fn join(bias: __m256i, both: __m256i, odd: __m256i) -> __m256i {
    // SAFETY: the caller has AVX2.
    unsafe {
        let even = _mm256_sub_epi16(both, _mm256_slli_epi16::<8>(odd));
        let sums = _mm256_add_epi16(
            _mm256_permute2x128_si256::<0x20>(even, odd),
            _mm256_permute2x128_si256::<0x31>(even, odd),
        );
        _mm256_add_epi16(sums, bias)
    }
}
