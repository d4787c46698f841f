//! Thirty-two lanes of `f32`, whatever the registers are, and the sums written once over them.
//!
//! Lane `j` of a pair's accumulator holds the sum of the terms `j, j + 32, j + 64, ..`, each added by
//! one fused multiply-add; missing terms count as zeros. The lanes are then folded in halves:
//! `j + (j + 16)`, then 8, 4, 2 and 1 apart. Every instruction set does exactly this, therefore all
//! agree to the bit.

/// Lanes of a block.
pub(crate) const LANES: usize = 32;

/// Thirty-two lanes in the registers of one instruction set.
///
/// # Safety
/// Every method needs the instruction set of the implementing type; callers hold its token.
pub(crate) trait Block: Copy {
    /// All lanes zero.
    unsafe fn zero() -> Self;
    /// The 32 values from `from`, which must all be readable.
    unsafe fn load(from: *const f32) -> Self;
    /// The first `len < 32` values from `from`, which must be readable, then zeros.
    #[inline(always)]
    unsafe fn load_part(from: *const f32, len: usize) -> Self {
        let mut padded = [0.0f32; LANES];
        // SAFETY: the caller lets us read `len` values, and `len < 32` fit the buffer; the token is
        // the caller's.
        unsafe {
            std::ptr::copy_nonoverlapping(from, padded.as_mut_ptr(), len);
            Self::load(padded.as_ptr())
        }
    }
    /// `a * b + self`, rounded once.
    unsafe fn fused(self, a: Self, b: Self) -> Self;
    /// `self - other`.
    unsafe fn minus(self, other: Self) -> Self;
    /// `self + other`.
    unsafe fn plus(self, other: Self) -> Self;
    /// The lanes folded in halves.
    unsafe fn sum(self) -> f32;
    /// `value` in every lane.
    unsafe fn splat(value: f32) -> Self;
    /// Writes the 32 values to `to`, all of which must be writable.
    unsafe fn store(self, to: *mut f32);
    /// Where `self < low`, sets `low` to `self` and `at` to `here`; `at` and `here` may be any bits.
    unsafe fn keep_less(self, low: &mut Self, at: &mut Self, here: Self);
}

/// What one pair of blocks adds to the accumulator.
pub(crate) trait Term {
    /// Adds the terms of `a` and `b` to `sum`.
    ///
    /// # Safety
    /// As for [`Block`].
    unsafe fn add<B: Block>(sum: B, a: B, b: B) -> B;
}

/// `a * b`.
pub(crate) struct Product;

impl Term for Product {
    #[inline(always)]
    unsafe fn add<B: Block>(sum: B, a: B, b: B) -> B {
        // SAFETY: the token is the caller's.
        unsafe { sum.fused(a, b) }
    }
}

/// `(a - b)^2`.
pub(crate) struct SquaredDifference;

impl Term for SquaredDifference {
    #[inline(always)]
    unsafe fn add<B: Block>(sum: B, a: B, b: B) -> B {
        // SAFETY: the token is the caller's.
        unsafe {
            let difference = a.minus(b);
            sum.fused(difference, difference)
        }
    }
}

/// The `Q x R` sums of `Q` queries and `R` rows of `dim` values each, in registers.
///
/// # Safety
/// Each pointer must have `dim` readable values; the instruction set of `B` must be present.
#[inline(always)]
unsafe fn pairs<B: Block, T: Term, const Q: usize, const R: usize>(
    queries: [*const f32; Q],
    rows: [*const f32; R],
    dim: usize,
) -> [[f32; R]; Q] {
    // SAFETY: `at + 32 <= dim` in the loop, `at + rest == dim` after it; the token is the caller's.
    unsafe {
        let mut sums = [[B::zero(); R]; Q];
        let mut at = 0;
        while at + LANES <= dim {
            let mut b = [B::zero(); R];
            for r in 0..R {
                b[r] = B::load(rows[r].add(at));
            }
            for q in 0..Q {
                let a = B::load(queries[q].add(at));
                for r in 0..R {
                    sums[q][r] = T::add(sums[q][r], a, b[r]);
                }
            }
            at += LANES;
        }
        let rest = dim - at;
        if rest > 0 {
            for q in 0..Q {
                let a = B::load_part(queries[q].add(at), rest);
                for r in 0..R {
                    sums[q][r] = T::add(sums[q][r], a, B::load_part(rows[r].add(at), rest));
                }
            }
        }
        let mut out = [[0.0; R]; Q];
        for q in 0..Q {
            for r in 0..R {
                out[q][r] = sums[q][r].sum();
            }
        }
        out
    }
}

/// The sum of one pair; lengths are equal (checked by the caller).
///
/// # Safety
/// The instruction set of `B` must be present.
#[inline(always)]
pub(crate) unsafe fn one<B: Block, T: Term>(a: &[f32], b: &[f32]) -> f32 {
    debug_assert_eq!(a.len(), b.len());
    // SAFETY: both slices have `a.len()` values; the token is the caller's.
    unsafe { pairs::<B, T, 1, 1>([a.as_ptr()], [b.as_ptr()], a.len())[0][0] }
}

/// One query against the rows `ids` of `rows`, `R` rows at once, the next ones on their way to cache.
///
/// # Safety
/// The instruction set of `B` must be present.
#[inline(always)]
pub(crate) unsafe fn at<B: Block, T: Term, const R: usize>(
    query: &[f32],
    rows: &[f32],
    ids: &[u32],
    out: &mut [f32],
) {
    /// Rows requested from memory before they are used.
    const AHEAD: usize = 8;
    let dim = query.len();
    for &id in ids.iter().take(AHEAD) {
        crate::prefetch(row(rows, id, dim));
    }
    let mut i = 0;
    while i + R <= ids.len() {
        for &id in ids.iter().skip(i + AHEAD).take(R) {
            crate::prefetch(row(rows, id, dim));
        }
        let mut b = [query.as_ptr(); R];
        for r in 0..R {
            b[r] = row(rows, ids[i + r], dim).as_ptr();
        }
        // SAFETY: `query` and every `b[r]` have `dim` values; the token is the caller's.
        let sums = unsafe { pairs::<B, T, 1, R>([query.as_ptr()], b, dim) };
        out[i..i + R].copy_from_slice(&sums[0]);
        i += R;
    }
    while i < ids.len() {
        // SAFETY: both slices have `dim` values; the token is the caller's.
        out[i] = unsafe { one::<B, T>(query, row(rows, ids[i], dim)) };
        i += 1;
    }
}

/// Row `id`, checked.
#[inline(always)]
fn row(rows: &[f32], id: u32, dim: usize) -> &[f32] {
    &rows[id as usize * dim..][..dim]
}

/// Every query against every row, `Q x R` at once; `out` is queries x rows, row-major. Lengths are
/// checked by the caller.
///
/// # Safety
/// The instruction set of `B` must be present.
#[inline(always)]
pub(crate) unsafe fn tile<B: Block, T: Term, const Q: usize, const R: usize>(
    queries: &[f32],
    rows: &[f32],
    dim: usize,
    out: &mut [f32],
) {
    let (count, width) = (queries.len() / dim, rows.len() / dim);
    let mut q = 0;
    while q + Q <= count {
        // SAFETY: queries `q..q + Q` exist; the token is the caller's.
        unsafe { strip::<B, T, Q, R>(&queries[q * dim..], rows, dim, &mut out[q * width..]) };
        q += Q;
    }
    while q < count {
        // SAFETY: query `q` exists; the token is the caller's.
        unsafe { strip::<B, T, 1, R>(&queries[q * dim..], rows, dim, &mut out[q * width..]) };
        q += 1;
    }
}

/// The first `Q` of `queries` against every row.
///
/// # Safety
/// The instruction set of `B` must be present.
#[inline(always)]
unsafe fn strip<B: Block, T: Term, const Q: usize, const R: usize>(
    queries: &[f32],
    rows: &[f32],
    dim: usize,
    out: &mut [f32],
) {
    assert!(queries.len() >= Q * dim);
    let width = rows.len() / dim;
    let mut a = [queries.as_ptr(); Q];
    for (q, a) in a.iter_mut().enumerate() {
        *a = queries[q * dim..].as_ptr();
    }
    let mut r = 0;
    while r + R <= width {
        let mut b = [rows.as_ptr(); R];
        for (i, b) in b.iter_mut().enumerate() {
            *b = rows[(r + i) * dim..].as_ptr();
        }
        // SAFETY: `queries` holds `Q` rows and `rows` holds rows `r..r + R`; the token is the caller's.
        let sums = unsafe { pairs::<B, T, Q, R>(a, b, dim) };
        for q in 0..Q {
            out[q * width + r..][..R].copy_from_slice(&sums[q]);
        }
        r += R;
    }
    while r < width {
        // SAFETY: as above, with the single row `r`.
        let sums = unsafe { pairs::<B, T, Q, 1>(a, [rows[r * dim..].as_ptr()], dim) };
        for q in 0..Q {
            out[q * width + r] = sums[q][0];
        }
        r += 1;
    }
}

/// The definition, for machines without any of the instruction sets we write for.
///
/// Without a fused multiply-add in hardware this is slow, and still the same bits.
impl Block for [f32; LANES] {
    #[inline(always)]
    unsafe fn zero() -> Self {
        [0.0; LANES]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller lets us read 32 values; an array needs no more alignment than a value.
        unsafe { from.cast::<Self>().read() }
    }

    #[inline(always)]
    unsafe fn fused(mut self, a: Self, b: Self) -> Self {
        for j in 0..LANES {
            self[j] = a[j].mul_add(b[j], self[j]);
        }
        self
    }

    #[inline(always)]
    unsafe fn minus(mut self, other: Self) -> Self {
        for j in 0..LANES {
            self[j] -= other[j];
        }
        self
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        [value; LANES]
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller lets us write 32 values; an array needs no more alignment than a value.
        unsafe { to.cast::<Self>().write(self) }
    }

    #[inline(always)]
    unsafe fn keep_less(self, low: &mut Self, at: &mut Self, here: Self) {
        for j in 0..LANES {
            if self[j] < low[j] {
                (low[j], at[j]) = (self[j], here[j]);
            }
        }
    }

    #[inline(always)]
    unsafe fn plus(mut self, other: Self) -> Self {
        for j in 0..LANES {
            self[j] += other[j];
        }
        self
    }

    #[inline(always)]
    unsafe fn sum(mut self) -> f32 {
        for half in [16, 8, 4, 2, 1] {
            for j in 0..half {
                self[j] += self[j + half];
            }
        }
        self[0]
    }
}
