//! Small selections over many values: which are low, and where a sum of rows is least.

use crate::Isa;
use crate::block::{Block, LANES};
use crate::isa::on;
use crate::widest::widest;

/// Appends `first + j` for each `values[j]` that is at most `limit`, in order.
pub fn below(values: &[f32], limit: f32, first: u32, found: &mut Vec<u32>) {
    select(values, limit, first, found);
}

/// The position of the least element of the sum of `rows`, and that element; the first on a tie.
///
/// Rows are added in their order.
///
/// # Panics
/// When there is no row, the first is empty, or their lengths differ.
#[must_use]
pub fn least_sum(rows: &[&[f32]]) -> (usize, f32) {
    let len = rows[0].len();
    assert!(len > 0 && rows.iter().all(|row| row.len() == len), "rows of one length");
    least(Isa::current(), rows)
}

widest! {
    fn select(values: &[f32], limit: f32, first: u32, found: &mut Vec<u32>);
    avx512: select_body, avx2: select_body, plain: select_body
}

#[inline(always)]
fn select_body(values: &[f32], limit: f32, first: u32, found: &mut Vec<u32>) {
    let (blocks, rest) = values.as_chunks::<32>();
    for (block, values) in (0u32..).zip(blocks) {
        let mut mask = 0u32;
        for (j, value) in values.iter().enumerate() {
            mask |= u32::from(*value <= limit) << j;
        }
        while mask != 0 {
            found.push(first + block * 32 + mask.trailing_zeros());
            mask &= mask - 1;
        }
    }
    let done = (values.len() - rest.len()) as u32;
    found.extend((first + done..).zip(rest).filter(|(_, value)| **value <= limit).map(|(at, _)| at));
}

/// The least of a sum on one instruction set, `$blocks` blocks of 32 values at once: as many as stay in
/// registers.
macro_rules! instruction_set {
    ($module:ident, $block:ty, $blocks:literal $(, $feature:literal)?) => {
        /// # Safety
        /// The function needs the instruction set that the module is named after.
        mod $module {
            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn least(rows: &[&[f32]]) -> (usize, f32) {
                // SAFETY: the instruction set is present here.
                unsafe { super::least_body::<$block, $blocks>(rows) }
            }
        }
    };
}

instruction_set!(scalar, [f32; crate::block::LANES], 1);
#[cfg(target_arch = "x86_64")]
instruction_set!(avx2, crate::x86::Block256, 2, "avx2,fma");
#[cfg(target_arch = "x86_64")]
instruction_set!(avx512, crate::x86::Block512, 8, "avx512f,avx2,fma");
#[cfg(target_arch = "aarch64")]
instruction_set!(neon, crate::neon::Block128, 2, "neon");

fn least(isa: Isa, rows: &[&[f32]]) -> (usize, f32) {
    on!(isa, least(rows))
}

/// Rows have one length, which is not zero (checked by the caller).
///
/// # Safety
/// The instruction set of `B` must be present.
#[inline(always)]
unsafe fn least_body<B: Block, const N: usize>(rows: &[&[f32]]) -> (usize, f32) {
    let len = rows[0].len();
    // SAFETY: `at + 32 N <= len` in the first loop, `at + 32 <= len` in the second; the token is the caller's.
    let (low, places, mut at) = unsafe {
        let (mut low, mut place) = (B::splat(f32::INFINITY), B::zero());
        let mut at = 0;
        while at + N * LANES <= len {
            let mut sums = [B::zero(); N];
            for (n, sum) in sums.iter_mut().enumerate() {
                *sum = B::load(rows[0].as_ptr().add(at + n * LANES));
            }
            for row in &rows[1..] {
                for (n, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.plus(B::load(row.as_ptr().add(at + n * LANES)));
                }
            }
            for (n, sum) in sums.into_iter().enumerate() {
                sum.keep_less(&mut low, &mut place, B::splat(f32::from_bits((at + n * LANES) as u32)));
            }
            at += N * LANES;
        }
        while at + LANES <= len {
            let mut sum = B::load(rows[0].as_ptr().add(at));
            for row in &rows[1..] {
                sum = sum.plus(B::load(row.as_ptr().add(at)));
            }
            sum.keep_less(&mut low, &mut place, B::splat(f32::from_bits(at as u32)));
            at += LANES;
        }
        let (mut lows, mut places) = ([0.0; LANES], [0.0; LANES]);
        low.store(lows.as_mut_ptr());
        place.store(places.as_mut_ptr());
        (lows, places, at)
    };
    let mut best = (0, f32::INFINITY);
    for (lane, (low, place)) in low.into_iter().zip(places).enumerate() {
        let place = place.to_bits() as usize + lane;
        if low < best.1 || (low == best.1 && place < best.0) {
            best = (place, low);
        }
    }
    while at < len {
        let sum = rows[1..].iter().fold(rows[0][at], |sum, row| sum + row[at]);
        if sum < best.1 {
            best = (at, sum);
        }
        at += 1;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn they_select_what_the_definitions_do(
            rows in (1usize..300).prop_flat_map(|len| {
                prop::collection::vec(prop::collection::vec((-5i8..6).prop_map(f32::from), len), 1..6)
            }),
            limit in -5f32..5.0, first in 0u32..100,
        ) {
            let views: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
            let sums: Vec<f32> = (0..rows[0].len()).map(|j| rows.iter().map(|row| row[j]).sum()).collect();
            let best = (0..sums.len()).min_by(|&a, &b| sums[a].total_cmp(&sums[b])).unwrap();
            for isa in Isa::present() {
                prop_assert_eq!(least(isa, &views), (best, sums[best]), "{}", isa.name());
            }
            let mut found = Vec::new();
            below(&sums, limit, first, &mut found);
            let want: Vec<u32> =
                (first..).zip(&sums).filter(|(_, sum)| **sum <= limit).map(|(at, _)| at).collect();
            prop_assert_eq!(found, want);
        }
    }
}
