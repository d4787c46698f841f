//! Inner products and squared distances of `f32` queries and rows kept as small whole numbers: bytes, or nibbles with
//! the lower half of a byte first.
//!
//! Numbers become floats in registers and go through the sums of [`crate::distance`], so every instruction set
//! gives the same bits. A row stands for `shift + step c` with a step for each value, or with one shift and one step.

use crate::Isa;
use crate::block::{Block, LANES};

/// How the numbers of a row are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digits {
    /// One a byte.
    Bytes,
    /// Two a byte, the lower half first.
    Nibbles,
}

impl Digits {
    /// Bytes of `dim` numbers.
    #[must_use]
    pub fn len(self, dim: usize) -> usize {
        match self {
            Self::Bytes => dim,
            Self::Nibbles => dim.div_ceil(2),
        }
    }
}

mod decode {
    use super::LANES;

    /// The numbers of 32 bytes, or of 16 bytes of nibbles.
    ///
    /// # Safety
    /// The bytes must be readable.
    #[inline(always)]
    pub(super) unsafe fn plain(from: *const u8, nibbles: bool) -> [f32; LANES] {
        // SAFETY: the caller's.
        unsafe {
            if nibbles {
                std::array::from_fn(|i| f32::from(from.add(i / 2).read() >> (4 * (i % 2)) & 15))
            } else {
                std::array::from_fn(|i| f32::from(from.add(i).read()))
            }
        }
    }

    #[cfg(target_arch = "aarch64")]
    pub(super) use plain as neon;

    /// As `plain`.
    ///
    /// # Safety
    /// The bytes must be readable; needs AVX2.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) unsafe fn avx2(from: *const u8, nibbles: bool) -> [f32; LANES] {
        use std::arch::x86_64::*;
        let mut out = [0.0; LANES];
        // SAFETY: the caller's; 32 floats fit `out`.
        unsafe {
            let (low, high) = halves(from, nibbles);
            for (i, bytes) in
                [low, _mm_srli_si128::<8>(low), high, _mm_srli_si128::<8>(high)].into_iter().enumerate()
            {
                let eight = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
                _mm256_storeu_ps(out.as_mut_ptr().add(8 * i), eight);
            }
        }
        out
    }

    /// As `plain`.
    ///
    /// # Safety
    /// The bytes must be readable; needs AVX-512F.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) unsafe fn avx512(from: *const u8, nibbles: bool) -> [f32; LANES] {
        use std::arch::x86_64::*;
        let mut out = [0.0; LANES];
        // SAFETY: the caller's; 32 floats fit `out`.
        unsafe {
            let (low, high) = halves(from, nibbles);
            _mm512_storeu_ps(out.as_mut_ptr(), _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(low)));
            _mm512_storeu_ps(out.as_mut_ptr().add(16), _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(high)));
        }
        out
    }

    /// The numbers in order, sixteen a register.
    ///
    /// # Safety
    /// The bytes must be readable; needs SSE2, which every x86-64 has.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn halves(
        from: *const u8,
        nibbles: bool,
    ) -> (std::arch::x86_64::__m128i, std::arch::x86_64::__m128i) {
        use std::arch::x86_64::*;
        // SAFETY: the caller's.
        unsafe {
            let first = _mm_loadu_si128(from.cast());
            if !nibbles {
                return (first, _mm_loadu_si128(from.add(16).cast()));
            }
            let nibble = _mm_set1_epi8(15);
            let (low, high) =
                (_mm_and_si128(first, nibble), _mm_and_si128(_mm_srli_epi16::<4>(first), nibble));
            (_mm_unpacklo_epi8(low, high), _mm_unpackhi_epi8(low, high))
        }
    }
}

/// What a value adds to the sum: `a` of the query, `b` of a second array, `c` the number, and the two numbers of
/// the row.
trait Term {
    /// # Safety
    /// As for [`Block`].
    unsafe fn add<B: Block>(sum: B, a: B, b: B, c: B, row: [B; 2]) -> B;
}

/// `a c`.
struct Product;

/// `(a + b c)^2`.
struct Stepped;

/// `(a + x b + y c)^2` for a row's `x` and `y`.
struct Shifted;

impl Term for Product {
    #[inline(always)]
    unsafe fn add<B: Block>(sum: B, a: B, _: B, c: B, _: [B; 2]) -> B {
        // SAFETY: the token is the caller's.
        unsafe { sum.fused(a, c) }
    }
}

impl Term for Stepped {
    #[inline(always)]
    unsafe fn add<B: Block>(sum: B, a: B, b: B, c: B, _: [B; 2]) -> B {
        // SAFETY: the token is the caller's.
        unsafe {
            let apart = a.fused(b, c);
            sum.fused(apart, apart)
        }
    }
}

impl Term for Shifted {
    #[inline(always)]
    unsafe fn add<B: Block>(sum: B, a: B, b: B, c: B, [x, y]: [B; 2]) -> B {
        // SAFETY: the token is the caller's.
        unsafe {
            let apart = a.fused(x, b).fused(y, c);
            sum.fused(apart, apart)
        }
    }
}

macro_rules! instruction_set {
    ($module:ident, $block:ty $(, $feature:literal)?) => {
        /// # Safety
        /// Every function needs the instruction set that the module is named after.
        mod $module {
            use super::{Block, Digits, LANES, Term, decode};

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn sum<T: Term>(
                query: &[f32],
                other: &[f32],
                row: [f32; 2],
                digits: Digits,
                code: &[u8],
            ) -> f32 {
                assert_eq!(query.len(), other.len());
                assert_eq!(code.len(), digits.len(query.len()));
                match digits {
                    // SAFETY: the lengths are as said; the instruction set is present here.
                    Digits::Bytes => unsafe { over::<T>(query, other, row, code, false) },
                    // SAFETY: as above.
                    Digits::Nibbles => unsafe { over::<T>(query, other, row, code, true) },
                }
            }

            /// # Safety
            /// `other` is as long as the query and `code` has its numbers; the instruction set is present.
            #[inline(always)]
            unsafe fn over<T: Term>(
                query: &[f32],
                other: &[f32],
                row: [f32; 2],
                code: &[u8],
                nibbles: bool,
            ) -> f32 {
                let bytes = |at: usize| if nibbles { at / 2 } else { at };
                // SAFETY: whole blocks end at `query.len()` at most; the rest is copied into blocks of zeros.
                unsafe {
                    let row = [<$block>::splat(row[0]), <$block>::splat(row[1])];
                    let mut sum = <$block>::zero();
                    let mut at = 0;
                    while at + LANES <= query.len() {
                        let a = <$block>::load(query.as_ptr().add(at));
                        let b = <$block>::load(other.as_ptr().add(at));
                        let c = decode::$module(code.as_ptr().add(bytes(at)), nibbles);
                        sum = T::add(sum, a, b, <$block>::load(c.as_ptr()), row);
                        at += LANES;
                    }
                    let rest = query.len() - at;
                    if rest > 0 {
                        let a = <$block>::load_part(query.as_ptr().add(at), rest);
                        let b = <$block>::load_part(other.as_ptr().add(at), rest);
                        let mut padded = [0; LANES];
                        let left = &code[bytes(at)..];
                        padded[..left.len()].copy_from_slice(left);
                        // The number in the last half byte, where the dimension is odd, meets zeros.
                        let c = decode::$module(padded.as_ptr(), nibbles);
                        let c = <$block>::load_part(c.as_ptr(), rest);
                        sum = T::add(sum, a, b, c, row);
                    }
                    sum.sum()
                }
            }
        }
    };
}

instruction_set!(plain, [f32; LANES]);
#[cfg(target_arch = "x86_64")]
instruction_set!(avx2, crate::x86::Block256, "avx2,fma");
#[cfg(target_arch = "x86_64")]
instruction_set!(avx512, crate::x86::Block512, "avx512f,avx2,fma");
#[cfg(target_arch = "aarch64")]
instruction_set!(neon, crate::neon::Block128, "neon");

/// Calls the function of the instruction set that `$isa` proves.
macro_rules! on {
    ($isa:expr, $term:ty, ($($argument:expr),*)) => {
        match $isa {
            // SAFETY: plain Rust needs no instruction set.
            Isa::Scalar => unsafe { plain::sum::<$term>($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves AVX2 and FMA.
            Isa::Avx2(_) => unsafe { avx2::sum::<$term>($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves AVX-512F and what AVX2's proves.
            Isa::Avx512(_) => unsafe { avx512::sum::<$term>($($argument),*) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: the token proves NEON.
            Isa::Neon(_) => unsafe { neon::sum::<$term>($($argument),*) },
        }
    };
}

impl Isa {
    /// Inner product of `query` and the numbers of a row.
    ///
    /// # Panics
    /// When the row has another number of bytes than the query's length asks for.
    #[must_use]
    #[inline]
    pub fn dot_digits(self, query: &[f32], digits: Digits, row: &[u8]) -> f32 {
        on!(self, Product, (query, query, [0.0; 2], digits, row))
    }

    /// Squared distance of `query` and the row that stands for `steps[j] c[j]`.
    ///
    /// # Panics
    /// When the lengths differ, or the row has another number of bytes than they ask for.
    #[must_use]
    #[inline]
    pub fn l2_stepped(self, negated_query: &[f32], steps: &[f32], digits: Digits, row: &[u8]) -> f32 {
        on!(self, Stepped, (negated_query, steps, [0.0; 2], digits, row))
    }

    /// Squared distance of a query and the row that stands for `shift + step c[j]`; `ones` are as many ones as the
    /// query has values.
    ///
    /// # Panics
    /// When the lengths differ, or the row has another number of bytes than they ask for.
    #[must_use]
    #[inline]
    pub fn l2_shifted(
        self,
        negated_query: &[f32],
        ones: &[f32],
        [shift, step]: [f32; 2],
        digits: Digits,
        row: &[u8],
    ) -> f32 {
        on!(self, Shifted, (negated_query, ones, [shift, step], digits, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dot, l2};
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// The numbers of a row, one by one.
    fn numbers(digits: Digits, row: &[u8], dim: usize) -> Vec<f32> {
        (0..dim)
            .map(|j| match digits {
                Digits::Bytes => f32::from(row[j]),
                Digits::Nibbles => f32::from(row[j / 2] >> (4 * (j % 2)) & 15),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_decoded_row(
            (query, steps) in (1usize..140).prop_flat_map(|dim| (vec(-9f32..9.0, dim), vec(0f32..2.0, dim))),
            bytes in vec(any::<u8>(), 140), shift in -9f32..9.0, step in 0f32..2.0,
        ) {
            let dim = query.len();
            let negated: Vec<f32> = query.iter().map(|q| -q).collect();
            for digits in [Digits::Bytes, Digits::Nibbles] {
                let row = &bytes[..digits.len(dim)];
                let c = numbers(digits, row, dim);
                let stepped: Vec<f32> = c.iter().zip(&steps).map(|(c, step)| c * step).collect();
                let shifted: Vec<f32> = c.iter().map(|c| shift + step * c).collect();
                let want = [dot(&query, &c), l2(&query, &stepped), l2(&query, &shifted)];
                let ones = vec![1.0; dim];
                let got = |isa: Isa| [
                    isa.dot_digits(&query, digits, row),
                    isa.l2_stepped(&negated, &steps, digits, row),
                    isa.l2_shifted(&negated, &ones, [shift, step], digits, row),
                ];
                for isa in Isa::present() {
                    prop_assert_eq!(got(isa).map(f32::to_bits), got(Isa::Scalar).map(f32::to_bits), "{}", isa.name());
                }
                for (got, want) in got(Isa::Scalar).into_iter().zip(want) {
                    prop_assert!((got - want).abs() <= 1e-5 * (want.abs() + 1.0) * dim as f32, "{} not {}", got, want);
                }
            }
        }
    }

    #[test]
    fn a_row_by_hand() {
        let isa = Isa::current();
        // Numbers 1, 2 and 3.
        assert_eq!(isa.dot_digits(&[1.0, 10.0, 100.0], Digits::Nibbles, &[0x21, 0xf3]), 321.0);
        assert_eq!(isa.l2_stepped(&[-1.0, -1.0, -1.0], &[1.0, 2.0, 0.0], Digits::Bytes, &[1, 2, 3]), 10.0); // 0 + 9 + 1
        assert_eq!(isa.l2_shifted(&[0.0; 3], &[1.0; 3], [-1.0, 2.0], Digits::Bytes, &[1, 2, 3]), 35.0); // 1 + 9 + 25
    }
}
