//! Exact inner products and squared distances of rows of bytes and of nibbles.
//!
//! Rows have at most 32768 dimensions, so that every sum fits an `i32`. With VNNI, which multiplies
//! unsigned bytes by signed ones, one operand is moved by 128 and the product corrected by 128 times the sum
//! of the other: for `u8`, `q r = q (r - 128) + 128 q`; for `i8`, `q r = q (r + 128) - 128 q`.

#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::Isa;

/// The most dimensions: 32768 squares of 255 are just below 2^31.
pub const MOST_DIMENSIONS: usize = 1 << 15;

mod sealed {
    pub trait Sealed: Copy {
        const SIGNED: bool;
        fn wide(self) -> i32;
    }

    impl Sealed for u8 {
        const SIGNED: bool = false;
        #[inline(always)]
        fn wide(self) -> i32 {
            i32::from(self)
        }
    }

    impl Sealed for i8 {
        const SIGNED: bool = true;
        #[inline(always)]
        fn wide(self) -> i32 {
            i32::from(self)
        }
    }
}

/// A value of a row: `u8` or `i8`.
pub trait Byte: sealed::Sealed + Send + Sync + 'static {}

impl Byte for u8 {}
impl Byte for i8 {}

/// What is summed over the values of two rows of `Item`s. `plain` is the definition, which compilers turn
/// into widening multiplications of whole registers.
trait Sum {
    type Item: Copy;
    fn plain(a: &[Self::Item], b: &[Self::Item]) -> i32;
    /// The sums of `R` rows of `query.len()` items.
    ///
    /// # Safety
    /// The rows are readable; needs AVX-512 BW and VNNI.
    #[cfg(target_arch = "x86_64")]
    unsafe fn vnni<const R: usize>(
        query: &[Self::Item],
        correction: i32,
        rows: [*const Self::Item; R],
    ) -> [i32; R];
    /// What `vnni` adds to every sum.
    #[cfg(target_arch = "x86_64")]
    fn correction(_query: &[Self::Item]) -> i32 {
        0
    }
}

struct Dot<T>(std::marker::PhantomData<T>);
struct L2<T>(std::marker::PhantomData<T>);
struct NibbleDot;

impl<T: Byte> Sum for Dot<T> {
    type Item = T;

    #[inline(always)]
    fn plain(a: &[T], b: &[T]) -> i32 {
        a.iter().zip(b).map(|(a, b)| a.wide() * b.wide()).sum()
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn vnni<const R: usize>(query: &[T], correction: i32, rows: [*const T; R]) -> [i32; R] {
        // SAFETY: the caller's; values are bytes.
        unsafe {
            x86::dot::<R>(
                T::SIGNED,
                query.as_ptr().cast(),
                query.len(),
                correction,
                rows.map(<*const T>::cast),
            )
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn correction(query: &[T]) -> i32 {
        let sum: i32 = query.iter().map(|value| value.wide()).sum();
        if T::SIGNED { -128 * sum } else { 128 * sum }
    }
}

impl<T: Byte> Sum for L2<T> {
    type Item = T;

    #[inline(always)]
    fn plain(a: &[T], b: &[T]) -> i32 {
        a.iter().zip(b).map(|(a, b)| (a.wide() - b.wide()).pow(2)).sum()
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn vnni<const R: usize>(query: &[T], _correction: i32, rows: [*const T; R]) -> [i32; R] {
        // SAFETY: the caller's; values are bytes.
        unsafe { x86::l2::<R>(T::SIGNED, query.as_ptr().cast(), query.len(), rows.map(<*const T>::cast)) }
    }
}

impl Sum for NibbleDot {
    type Item = u8;

    #[inline(always)]
    fn plain(a: &[u8], b: &[u8]) -> i32 {
        let pair = |(&a, &b): (&u8, &u8)| {
            i32::from(a & 15) * i32::from(b & 15) + i32::from(a >> 4) * i32::from(b >> 4)
        };
        a.iter().zip(b).map(pair).sum()
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn vnni<const R: usize>(query: &[u8], _correction: i32, rows: [*const u8; R]) -> [i32; R] {
        // SAFETY: the caller's.
        unsafe { x86::nibble_dot::<R>(query.as_ptr(), query.len(), rows) }
    }
}

/// One-to-one, one-to-many and by row number, by the definition.
#[inline(always)]
fn many_plain<S: Sum>(query: &[S::Item], rows: &[S::Item], out: &mut [i32]) {
    for (row, out) in rows.chunks_exact(query.len().max(1)).zip(out) {
        *out = S::plain(query, row);
    }
}

#[inline(always)]
fn at_plain<S: Sum>(query: &[S::Item], rows: &[S::Item], ids: &[u32], out: &mut [i32]) {
    let row = |id: u32| &rows[id as usize * query.len()..][..query.len()];
    ids.iter().take(AHEAD).for_each(|&id| crate::prefetch(row(id)));
    for (i, (&id, out)) in ids.iter().zip(out).enumerate() {
        if let Some(&next) = ids.get(i + AHEAD) {
            crate::prefetch(row(next));
        }
        *out = S::plain(query, row(id));
    }
}

/// Rows requested from memory before they are used.
const AHEAD: usize = 8;

/// The functions of an instruction set for which the compiler finds the instructions.
macro_rules! instruction_set {
    ($module:ident $(, $feature:literal)?) => {
        /// # Safety
        /// Every function needs the features it is compiled with.
        mod $module {
            use super::Sum;

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn one<S: Sum>(a: &[S::Item], b: &[S::Item]) -> i32 {
                S::plain(a, b)
            }

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn many<S: Sum>(query: &[S::Item], rows: &[S::Item], out: &mut [i32]) {
                super::many_plain::<S>(query, rows, out);
            }

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn at<S: Sum>(query: &[S::Item], rows: &[S::Item], ids: &[u32], out: &mut [i32]) {
                super::at_plain::<S>(query, rows, ids, out);
            }
        }
    };
}

instruction_set!(scalar);
#[cfg(target_arch = "x86_64")]
instruction_set!(avx2, "avx2");

/// Calls the function of the instruction set that `$isa` proves.
macro_rules! on {
    ($isa:expr, $function:ident, $sum:ty, ($($argument:expr),*)) => {
        match $isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves AVX-512F, BW and VNNI.
            Isa::Avx512(token) if token.extensions().vnni => unsafe { x86::$function::<$sum>($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: both tokens prove AVX2.
            Isa::Avx2(_) | Isa::Avx512(_) => unsafe { avx2::$function::<$sum>($($argument),*) },
            // SAFETY: plain Rust needs no instruction set; every aarch64 is compiled with NEON.
            _ => unsafe { scalar::$function::<$sum>($($argument),*) },
        }
    };
}

fn check(query: usize) {
    assert!(query <= MOST_DIMENSIONS, "{query} dimensions; sums of more than {MOST_DIMENSIONS} may not fit");
}

fn check_pair(a: usize, b: usize) {
    check(a);
    assert_eq!(a, b, "vectors of different lengths");
}

fn check_many(query: usize, rows: usize, out: usize) {
    check(query);
    assert!(query > 0 && rows == out * query, "one distance a row");
}

fn check_at(query: usize, ids: &[u32], out: &[i32]) {
    check(query);
    assert_eq!(ids.len(), out.len(), "one distance an id");
}

/// Each panics when sizes disagree, an id is not a row, or a row has more than [`MOST_DIMENSIONS`].
impl Isa {
    /// Inner product of `a` and `b`.
    ///
    /// # Panics
    /// When the lengths differ or pass [`MOST_DIMENSIONS`].
    #[must_use]
    pub fn dot_bytes<T: Byte>(self, a: &[T], b: &[T]) -> i32 {
        check_pair(a.len(), b.len());
        on!(self, one, Dot<T>, (a, b))
    }

    /// Squared distance of `a` and `b`.
    ///
    /// # Panics
    /// When the lengths differ or pass [`MOST_DIMENSIONS`].
    #[must_use]
    pub fn l2_bytes<T: Byte>(self, a: &[T], b: &[T]) -> i32 {
        check_pair(a.len(), b.len());
        on!(self, one, L2<T>, (a, b))
    }

    /// Inner products of `query` with each of `rows` (row-major, `out.len() x query.len()`).
    ///
    /// # Panics
    /// When the sizes disagree or pass [`MOST_DIMENSIONS`].
    pub fn dots_bytes<T: Byte>(self, query: &[T], rows: &[T], out: &mut [i32]) {
        check_many(query.len(), rows.len(), out.len());
        on!(self, many, Dot<T>, (query, rows, out));
    }

    /// Squared distances of `query` to each of `rows` (row-major, `out.len() x query.len()`).
    ///
    /// # Panics
    /// When the sizes disagree or pass [`MOST_DIMENSIONS`].
    pub fn l2s_bytes<T: Byte>(self, query: &[T], rows: &[T], out: &mut [i32]) {
        check_many(query.len(), rows.len(), out.len());
        on!(self, many, L2<T>, (query, rows, out));
    }

    /// Inner products of `query` with the rows named by `ids`, in their order.
    ///
    /// # Panics
    /// When `out` and `ids` differ in length, an id is not a row, or the query passes [`MOST_DIMENSIONS`].
    pub fn dots_bytes_at<T: Byte>(self, query: &[T], rows: &[T], ids: &[u32], out: &mut [i32]) {
        check_at(query.len(), ids, out);
        on!(self, at, Dot<T>, (query, rows, ids, out));
    }

    /// Squared distances of `query` to the rows named by `ids`, in their order.
    ///
    /// # Panics
    /// When `out` and `ids` differ in length, an id is not a row, or the query passes [`MOST_DIMENSIONS`].
    pub fn l2s_bytes_at<T: Byte>(self, query: &[T], rows: &[T], ids: &[u32], out: &mut [i32]) {
        check_at(query.len(), ids, out);
        on!(self, at, L2<T>, (query, rows, ids, out));
    }

    /// Inner product of `a` and `b`, unsigned nibbles packed two a byte in the same order.
    ///
    /// # Panics
    /// When the lengths differ or pass [`MOST_DIMENSIONS`] bytes.
    #[must_use]
    pub fn dot_nibbles(self, a: &[u8], b: &[u8]) -> i32 {
        check_pair(a.len(), b.len());
        on!(self, one, NibbleDot, (a, b))
    }

    /// Inner products of `query` with each of `rows` (row-major, `out.len() x query.len()` bytes), packed as
    /// for [`Isa::dot_nibbles`].
    ///
    /// # Panics
    /// When the sizes disagree or pass [`MOST_DIMENSIONS`] bytes.
    pub fn dots_nibbles(self, query: &[u8], rows: &[u8], out: &mut [i32]) {
        check_many(query.len(), rows.len(), out.len());
        on!(self, many, NibbleDot, (query, rows, out));
    }

    /// Inner products of `query` with the rows named by `ids`, packed as for [`Isa::dot_nibbles`].
    ///
    /// # Panics
    /// When `out` and `ids` differ in length, an id is not a row, or the query passes [`MOST_DIMENSIONS`]
    /// bytes.
    pub fn dots_nibbles_at(self, query: &[u8], rows: &[u8], ids: &[u32], out: &mut [i32]) {
        check_at(query.len(), ids, out);
        on!(self, at, NibbleDot, (query, rows, ids, out));
    }
}
