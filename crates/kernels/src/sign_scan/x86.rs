//! Estimates in the registers of x86-64.

use super::{BLOCK, PART, SignBlock, SignTable};
use std::arch::x86_64::*;

/// Chunks whose bytes sum to at most 65535 in a 16-bit lane.
const FITS: usize = 64;

/// See `SignTable::set`.
///
/// # Safety
/// Needs AVX-512F.
#[target_feature(enable = "avx512f,avx2")]
pub(super) unsafe fn set_512(table: &mut SignTable, query: &[f32]) {
    // SAFETY: this function has what the sums need.
    table.fill(query, |part, per| unsafe { entries_512(part, per) });
}

/// See `entries`.
///
/// # Safety
/// Needs AVX-512F.
#[inline(always)]
unsafe fn entries_512(part: [f32; PART], per: f32) -> [u8; 16] {
    /// The patterns without a bit, of each bit: there its value is taken off.
    const WITHOUT: [__mmask16; PART] = [0x5555, 0x3333, 0x0f0f, 0x00ff];
    // SAFETY: the caller's; 16 bytes are written.
    unsafe {
        let part = part.map(|value| value * per);
        let least: f32 = part.iter().map(|value| value.abs()).sum();
        let mut sums = _mm512_set1_ps(least + 0.5);
        for (value, without) in part.into_iter().zip(WITHOUT) {
            let value = _mm512_castps_si512(_mm512_set1_ps(value));
            let signed = _mm512_mask_xor_epi32(value, without, value, _mm512_set1_epi32(i32::MIN));
            sums = _mm512_add_ps(sums, _mm512_castsi512_ps(signed));
        }
        // Truncated; what is no number becomes the least integer, then 0.
        let whole = _mm512_max_epi32(_mm512_cvttps_epi32(sums), _mm512_setzero_si512());
        let mut bytes = [0; 16];
        _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm512_cvtusepi32_epi8(whole));
        bytes
    }
}

/// See `Isa::estimate_block`.
///
/// # Safety
/// `block.signs` has 64 bytes for each line of `table`; needs AVX-512 BW, VBMI and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,avx2")]
pub(super) unsafe fn estimate_512(
    table: &SignTable,
    block: SignBlock<'_>,
    base: f32,
    bound: f32,
    out: &mut [f32; BLOCK],
) -> u32 {
    // SAFETY: reads stay within the lines, as many bytes of signs, and 32 numbers; writes within `out`.
    unsafe {
        let nibble = _mm512_set1_epi8(15);
        let ones = _mm512_set1_epi8(1);
        // Which of the four tables of a line a byte looks into: bits 4 and 5 of the index.
        let part = _mm512_set1_epi32(0x3020_1000);
        let mut low = [_mm512_setzero_si512(); 2];
        let mut high = low;
        let chunk = |c: usize, low: &mut __m512i, high: &mut __m512i| {
            let codes = _mm512_loadu_si512(block.signs.as_ptr().add(64 * c).cast());
            let line = _mm512_load_si512(table.lines.as_ptr().add(c).cast());
            // (codes & nibble) | part, in one instruction each.
            let a = _mm512_ternarylogic_epi32::<0xea>(codes, nibble, part);
            let b = _mm512_ternarylogic_epi32::<0xea>(_mm512_srli_epi16::<4>(codes), nibble, part);
            *low = _mm512_dpbusd_epi32(*low, _mm512_permutexvar_epi8(a, line), ones);
            *high = _mm512_dpbusd_epi32(*high, _mm512_permutexvar_epi8(b, line), ones);
        };
        // Two sums of each half: one alone would wait for itself.
        let chunks = table.lines.len();
        for c in (0..chunks / 2 * 2).step_by(2) {
            chunk(c, &mut low[0], &mut high[0]);
            chunk(c + 1, &mut low[1], &mut high[1]);
        }
        if chunks % 2 == 1 {
            chunk(chunks - 1, &mut low[0], &mut high[0]);
        }
        let [low, high] = [low, high].map(|[a, b]| _mm512_add_epi32(a, b));
        let (step, least) = (_mm512_set1_ps(table.step), _mm512_set1_ps(table.low));
        let (base, bound) = (_mm512_set1_ps(base), _mm512_set1_ps(bound));
        let mut mask = 0;
        for (half, sums) in [low, high].into_iter().enumerate() {
            let t = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), step), least);
            let wide = |bits: &[u16; BLOCK]| {
                let bits = _mm256_loadu_si256(bits.as_ptr().add(16 * half).cast());
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
            };
            let far = _mm512_add_ps(base, wide(block.add));
            let estimate = _mm512_sub_ps(far, _mm512_mul_ps(wide(block.scale), t));
            _mm512_storeu_ps(out.as_mut_ptr().add(16 * half), estimate);
            mask |= u32::from(_mm512_cmp_ps_mask::<_CMP_LE_OQ>(estimate, bound)) << (16 * half);
        }
        mask
    }
}

/// See `Isa::estimate_block`.
///
/// # Safety
/// `block.signs` has 64 bytes for each line of `table`; needs AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn estimate_256(
    table: &SignTable,
    block: SignBlock<'_>,
    base: f32,
    bound: f32,
    out: &mut [f32; BLOCK],
) -> u32 {
    // SAFETY: reads stay within the lines, as many bytes of signs, and 32 numbers; writes within `out`.
    unsafe {
        let mut sums = [_mm256_setzero_si256(); 4];
        for (group, lines) in table.lines.chunks(FITS).enumerate() {
            let found =
                sums_256(lines.as_ptr().cast(), block.signs.as_ptr().add(64 * FITS * group), lines.len());
            for (half, found) in found.into_iter().enumerate() {
                let near = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(found));
                let far = _mm256_cvtepu16_epi32(_mm256_extracti128_si256::<1>(found));
                sums[2 * half] = _mm256_add_epi32(sums[2 * half], near);
                sums[2 * half + 1] = _mm256_add_epi32(sums[2 * half + 1], far);
            }
        }
        let (step, least) = (_mm256_set1_ps(table.step), _mm256_set1_ps(table.low));
        let (base, bound) = (_mm256_set1_ps(base), _mm256_set1_ps(bound));
        let mut mask = 0;
        for (quarter, sums) in sums.into_iter().enumerate() {
            let t = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), step), least);
            let wide = |bits: &[u16; BLOCK]| {
                let bits = _mm_loadu_si128(bits.as_ptr().add(8 * quarter).cast());
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
            };
            let far = _mm256_add_ps(base, wide(block.add));
            let estimate = _mm256_sub_ps(far, _mm256_mul_ps(wide(block.scale), t));
            _mm256_storeu_ps(out.as_mut_ptr().add(8 * quarter), estimate);
            let within = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(estimate, bound));
            mask |= (within as u32) << (8 * quarter);
        }
        mask
    }
}

/// The sums of neighbours 0..16 and 16..32 over at most [`FITS`] chunks, 16 bits each.
///
/// # Safety
/// `chunks` times 64 bytes of both must be readable; needs AVX2.
#[inline(always)]
unsafe fn sums_256(tables: *const u8, signs: *const u8, chunks: usize) -> [__m256i; 2] {
    // SAFETY: the caller's.
    unsafe {
        let nibble = _mm256_set1_epi8(15);
        // The four bytes of four neighbours, turned so that those of one part lie together.
        let by_part =
            _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
        // Even bytes pick up the odd ones above them, which are taken off at the end.
        let zero = _mm256_setzero_si256();
        let (mut both, mut odd) = ([zero; 2], [zero; 2]);
        for c in 0..chunks {
            let chunk = signs.add(64 * c);
            let near = _mm256_shuffle_epi8(_mm256_loadu_si256(chunk.cast()), by_part);
            let far = _mm256_shuffle_epi8(_mm256_loadu_si256(chunk.add(32).cast()), by_part);
            // Each half of a register has one part of 16 neighbours, 0, 8, 1, 9, .. once the bytes of `near`
            // and `far` alternate.
            let first = _mm256_permute4x64_epi64::<0b11_01_10_00>(pair::<false>(near, far));
            let second = _mm256_permute4x64_epi64::<0b11_01_10_00>(pair::<true>(near, far));
            for (half, codes) in [first, second].into_iter().enumerate() {
                let table = _mm256_loadu_si256(tables.add(64 * c + 32 * half).cast());
                let a = _mm256_shuffle_epi8(table, _mm256_and_si256(codes, nibble));
                let b = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16::<4>(codes), nibble));
                both = [_mm256_add_epi16(both[0], a), _mm256_add_epi16(both[1], b)];
                odd[0] = _mm256_add_epi16(odd[0], _mm256_srli_epi16::<8>(a));
                odd[1] = _mm256_add_epi16(odd[1], _mm256_srli_epi16::<8>(b));
            }
        }
        let mut out = [zero; 2];
        for half in 0..2 {
            // Wrapping does no harm: the sums themselves fit.
            let even = _mm256_sub_epi16(both[half], _mm256_slli_epi16::<8>(odd[half]));
            out[half] = _mm256_add_epi16(
                _mm256_permute2x128_si256::<0x20>(even, odd[half]),
                _mm256_permute2x128_si256::<0x31>(even, odd[half]),
            );
        }
        out
    }
}

/// Bytes of two registers in turn, from the low or the high half of each half.
///
/// # Safety
/// Needs AVX2.
#[inline(always)]
unsafe fn pair<const HIGH: bool>(near: __m256i, far: __m256i) -> __m256i {
    // SAFETY: the caller's.
    unsafe { if HIGH { _mm256_unpackhi_epi8(near, far) } else { _mm256_unpacklo_epi8(near, far) } }
}

/// See `Isa::sign_sums`.
///
/// # Safety
/// Needs AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn sign_sums(residual: &[f32], p: &[f32]) -> [f32; 3] {
    super::sign_sums_plain(residual, p)
}
