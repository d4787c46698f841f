//! Inner products and squared distances of `f32` queries and rows kept in 16-bit floats.
//!
//! The value is that of [`Isa::dot`] and [`Isa::l2`] of the decoded row, to the bit: rows are decoded in
//! registers and go through the same sums. Products of pairs of 16-bit floats in hardware (AVX-512 BF16) are
//! not used: they flush small numbers to zero and round in another order.

use crate::Isa;
use crate::block::{Block, LANES, Product, SquaredDifference, Term};

pub use half::{bf16, f16};

mod sealed {
    /// Decodes 32 values in the registers of one instruction set.
    ///
    /// # Safety
    /// 32 values must be readable and the instruction set present. (The array stays in registers: callers
    /// load it at once, and the compiler joins the two.)
    pub trait Stored: Copy {
        unsafe fn scalar(from: *const Self) -> [f32; 32];
        #[cfg(target_arch = "x86_64")]
        unsafe fn avx2(from: *const Self) -> [f32; 32];
        #[cfg(target_arch = "x86_64")]
        unsafe fn avx512(from: *const Self) -> [f32; 32];
    }
}

use sealed::Stored;

/// A 16-bit float: [`struct@f16`] (11 bits of precision, up to 65504) or [`bf16`] (8 bits, the range of `f32`).
pub trait Half: Stored + Send + Sync + 'static {
    /// Zero.
    const ZERO: Self;
    /// The nearest value, ties to even; infinity beyond the range.
    fn encode(value: f32) -> Self;
    /// The same value.
    fn decode(self) -> f32;
}

impl Half for f16 {
    const ZERO: Self = Self::ZERO;

    #[inline]
    fn encode(value: f32) -> Self {
        Self::from_f32(value)
    }

    #[inline]
    fn decode(self) -> f32 {
        self.to_f32()
    }
}

impl Half for bf16 {
    const ZERO: Self = Self::ZERO;

    #[inline]
    fn encode(value: f32) -> Self {
        Self::from_f32(value)
    }

    #[inline]
    fn decode(self) -> f32 {
        self.to_f32()
    }
}

// SAFETY (both below): the contract of `Stored` is that 32 values are readable and the instruction set is
// present; the intrinsics ask for nothing else.

impl Stored for f16 {
    #[inline(always)]
    unsafe fn scalar(from: *const Self) -> [f32; LANES] {
        // SAFETY: see the head of the impls.
        unsafe { from.cast::<[Self; LANES]>().read_unaligned() }.map(Self::to_f32)
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn avx2(from: *const Self) -> [f32; LANES] {
        use std::arch::x86_64::{_mm_loadu_si128, _mm256_cvtph_ps, _mm256_storeu_ps};
        let mut out = [0.0; LANES];
        for i in 0..4 {
            // SAFETY: see the head of the impls.
            unsafe {
                let eight = _mm256_cvtph_ps(_mm_loadu_si128(from.add(8 * i).cast()));
                _mm256_storeu_ps(out.as_mut_ptr().add(8 * i), eight);
            }
        }
        out
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn avx512(from: *const Self) -> [f32; LANES] {
        use std::arch::x86_64::{_mm256_loadu_si256, _mm512_cvtph_ps, _mm512_storeu_ps};
        let mut out = [0.0; LANES];
        for i in 0..2 {
            // SAFETY: see the head of the impls.
            unsafe {
                let sixteen = _mm512_cvtph_ps(_mm256_loadu_si256(from.add(16 * i).cast()));
                _mm512_storeu_ps(out.as_mut_ptr().add(16 * i), sixteen);
            }
        }
        out
    }
}

impl Stored for bf16 {
    #[inline(always)]
    unsafe fn scalar(from: *const Self) -> [f32; LANES] {
        // The upper half of an `f32`.
        // SAFETY: see the head of the impls.
        unsafe { from.cast::<[u16; LANES]>().read_unaligned() }.map(|x| f32::from_bits(u32::from(x) << 16))
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn avx2(from: *const Self) -> [f32; LANES] {
        use std::arch::x86_64::{
            _mm_loadu_si128, _mm256_cvtepu16_epi32, _mm256_slli_epi32, _mm256_storeu_si256,
        };
        let mut out = [0.0; LANES];
        for i in 0..4 {
            // SAFETY: see the head of the impls.
            unsafe {
                let eight = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.add(8 * i).cast()));
                _mm256_storeu_si256(out.as_mut_ptr().add(8 * i).cast(), _mm256_slli_epi32::<16>(eight));
            }
        }
        out
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn avx512(from: *const Self) -> [f32; LANES] {
        use std::arch::x86_64::{
            _mm256_loadu_si256, _mm512_castsi512_ps, _mm512_cvtepu16_epi32, _mm512_slli_epi32,
            _mm512_storeu_ps,
        };
        let mut out = [0.0; LANES];
        for i in 0..2 {
            // SAFETY: see the head of the impls.
            unsafe {
                let sixteen = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.add(16 * i).cast()));
                let sixteen = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(sixteen));
                _mm512_storeu_ps(out.as_mut_ptr().add(16 * i), sixteen);
            }
        }
        out
    }
}

/// The kernels of one instruction set: `$many` rows at once.
macro_rules! instruction_set {
    ($module:ident, $decode:ident, $block:ty, $many:literal $(, $feature:literal)?) => {
        /// # Safety
        /// Every function needs the instruction set that the module is named after.
        mod $module {
            use super::{Block, Half, LANES, Term};

            type Lanes = $block;

            /// The sums of `R` rows.
            ///
            /// # Safety
            /// Every row has as many readable values as the query.
            #[inline(always)]
            unsafe fn rows<T: Term, H: Half, const R: usize>(query: &[f32], rows: [*const H; R]) -> [f32; R] {
                // SAFETY: whole blocks end at `query.len()` at most; the rest is copied into a block of zeros.
                unsafe {
                    let mut sums = [Lanes::zero(); R];
                    let mut at = 0;
                    while at + LANES <= query.len() {
                        let a = Lanes::load(query.as_ptr().add(at));
                        for r in 0..R {
                            let b = H::$decode(rows[r].add(at));
                            sums[r] = T::add(sums[r], a, Lanes::load(b.as_ptr()));
                        }
                        at += LANES;
                    }
                    let rest = query.len() - at;
                    if rest > 0 {
                        let a = Lanes::load_part(query.as_ptr().add(at), rest);
                        for r in 0..R {
                            let mut padded = [H::ZERO; LANES];
                            std::ptr::copy_nonoverlapping(rows[r].add(at), padded.as_mut_ptr(), rest);
                            let b = H::$decode(padded.as_ptr());
                            sums[r] = T::add(sums[r], a, Lanes::load(b.as_ptr()));
                        }
                    }
                    let mut out = [0.0; R];
                    for r in 0..R {
                        out[r] = sums[r].sum();
                    }
                    out
                }
            }

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn one<T: Term, H: Half>(query: &[f32], row: &[H]) -> f32 {
                assert_eq!(query.len(), row.len());
                // SAFETY: the lengths are equal; the instruction set is present here.
                unsafe { rows::<T, H, 1>(query, [row.as_ptr()])[0] }
            }

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn many<T: Term, H: Half>(query: &[f32], all: &[H], out: &mut [f32]) {
                const MANY: usize = $many;
                assert_eq!(all.len(), query.len() * out.len());
                for (group, out) in out.chunks_mut(MANY).enumerate() {
                    let start = all[group * MANY * query.len()..].as_ptr();
                    let mut from = [start; MANY];
                    for (r, from) in from.iter_mut().enumerate().take(out.len()) {
                        *from = start.wrapping_add(r * query.len());
                    }
                    // SAFETY: `out.len()` rows from `start`, and the first one again in place of missing
                    // ones; the instruction set is present here.
                    out.copy_from_slice(&unsafe { rows::<T, H, MANY>(query, from) }[..out.len()]);
                }
            }

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn at<T: Term, H: Half>(query: &[f32], all: &[H], ids: &[u32], out: &mut [f32]) {
                const MANY: usize = $many;
                /// Rows requested from memory before they are used.
                const AHEAD: usize = 8;
                let row = |id: u32| &all[id as usize * query.len()..][..query.len()];
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
                    // SAFETY: whole rows; the instruction set is present here.
                    out.copy_from_slice(&unsafe { rows::<T, H, MANY>(query, from) }[..out.len()]);
                }
            }
        }
    };
}

instruction_set!(plain, scalar, [f32; LANES], 1);
#[cfg(target_arch = "x86_64")]
instruction_set!(avx2, avx2, crate::x86::Block256, 2, "avx2,fma,f16c");
#[cfg(target_arch = "x86_64")]
instruction_set!(avx512, avx512, crate::x86::Block512, 4, "avx512f,avx2,fma,f16c");
#[cfg(target_arch = "aarch64")]
instruction_set!(neon, scalar, crate::neon::Block128, 2, "neon");

/// Calls the function of the instruction set that `$isa` proves.
macro_rules! on {
    ($isa:expr, $function:ident, $term:ty, $half:ty, ($($argument:expr),*)) => {
        match $isa {
            // SAFETY: plain Rust needs no instruction set.
            Isa::Scalar => unsafe { plain::$function::<$term, $half>($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves AVX2, FMA and F16C.
            Isa::Avx2(_) => unsafe { avx2::$function::<$term, $half>($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves AVX-512F and what AVX2's proves.
            Isa::Avx512(_) => unsafe { avx512::$function::<$term, $half>($($argument),*) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: the token proves NEON.
            Isa::Neon(_) => unsafe { neon::$function::<$term, $half>($($argument),*) },
        }
    };
}

impl Isa {
    /// Inner product of `query` and a 16-bit `row`.
    ///
    /// # Panics
    /// When the lengths differ.
    #[must_use]
    pub fn dot_half<H: Half>(self, query: &[f32], row: &[H]) -> f32 {
        on!(self, one, Product, H, (query, row))
    }

    /// Squared distance of `query` and a 16-bit `row`.
    ///
    /// # Panics
    /// When the lengths differ.
    #[must_use]
    pub fn l2_half<H: Half>(self, query: &[f32], row: &[H]) -> f32 {
        on!(self, one, SquaredDifference, H, (query, row))
    }

    /// Inner products of `query` with each of `rows` (row-major, `out.len() x query.len()`).
    ///
    /// # Panics
    /// When the sizes disagree.
    pub fn dots_half<H: Half>(self, query: &[f32], rows: &[H], out: &mut [f32]) {
        on!(self, many, Product, H, (query, rows, out));
    }

    /// Squared distances of `query` to each of `rows` (row-major, `out.len() x query.len()`).
    ///
    /// # Panics
    /// When the sizes disagree.
    pub fn l2s_half<H: Half>(self, query: &[f32], rows: &[H], out: &mut [f32]) {
        on!(self, many, SquaredDifference, H, (query, rows, out));
    }

    /// Inner products of `query` with the rows named by `ids`, in their order.
    ///
    /// # Panics
    /// When `out` and `ids` differ in length or an id is not a row.
    pub fn dots_half_at<H: Half>(self, query: &[f32], rows: &[H], ids: &[u32], out: &mut [f32]) {
        assert_eq!(ids.len(), out.len(), "one distance an id");
        on!(self, at, Product, H, (query, rows, ids, out));
    }

    /// Squared distances of `query` to the rows named by `ids`, in their order.
    ///
    /// # Panics
    /// When `out` and `ids` differ in length or an id is not a row.
    pub fn l2s_half_at<H: Half>(self, query: &[f32], rows: &[H], ids: &[u32], out: &mut [f32]) {
        assert_eq!(ids.len(), out.len(), "one distance an id");
        on!(self, at, SquaredDifference, H, (query, rows, ids, out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn agree<H: Half>(dim: usize, query: &[f32], values: &[f32], picks: &[usize]) {
        let rows: Vec<H> = values.iter().map(|&value| H::encode(value)).collect();
        let decoded: Vec<f32> = rows.iter().map(|half| half.decode()).collect();
        let count = rows.len() / dim;
        let ids: Vec<u32> = picks.iter().map(|&pick| (pick % count) as u32).collect();
        for isa in Isa::present() {
            let mut all = [vec![0.0; count], vec![0.0; count]];
            let mut at = [vec![0.0; ids.len()], vec![0.0; ids.len()]];
            isa.dots_half(query, &rows, &mut all[0]);
            isa.l2s_half(query, &rows, &mut all[1]);
            isa.dots_half_at(query, &rows, &ids, &mut at[0]);
            isa.l2s_half_at(query, &rows, &ids, &mut at[1]);
            for r in 0..count {
                let (row, plain) = (&rows[r * dim..][..dim], &decoded[r * dim..][..dim]);
                let want = [Isa::Scalar.dot(query, plain), Isa::Scalar.l2(query, plain)].map(f32::to_bits);
                assert_eq!([isa.dot_half(query, row), isa.l2_half(query, row)].map(f32::to_bits), want);
                assert_eq!([all[0][r], all[1][r]].map(f32::to_bits), want, "{}", isa.name());
                for (i, _) in ids.iter().enumerate().filter(|(_, id)| **id as usize == r) {
                    assert_eq!([at[0][i], at[1][i]].map(f32::to_bits), want, "{}", isa.name());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_shape_gives_the_bits_of_the_decoded_row(
            (dim, query, values) in (1usize..140, 1usize..9).prop_flat_map(|(dim, rows)| {
                let wide = prop_oneof![-9f32..9.0, -1e-6f32..1e-6];
                (Just(dim), prop::collection::vec(-9f32..9.0, dim), prop::collection::vec(wide, dim * rows))
            }),
            picks in prop::collection::vec(0usize..50, 0..20),
        ) {
            // The small values are subnormal in f16.
            agree::<f16>(dim, &query, &values, &picks);
            agree::<bf16>(dim, &query, &values, &picks);
        }
    }

    #[test]
    fn a_row_by_hand() {
        let row = [1.0, 2.0, 0.5].map(f16::encode);
        assert_eq!(Isa::current().dot_half(&[2.0, 3.0, 4.0], &row), 10.0); // 2 + 6 + 2
        assert_eq!(Isa::current().l2_half(&[2.0, 3.0, 4.0], &row), 14.25); // 1 + 1 + 12.25
        assert_eq!(bf16::encode(1.0 + 1.0 / 256.0).decode(), 1.0); // a tie between 1 and 1 + 2^-7, to even
    }
}
