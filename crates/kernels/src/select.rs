//! Small selections over many values: which are low, and where a sum of rows is least.

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
/// When there is no row, the first is empty or longer than 4096, or their lengths differ.
#[must_use]
pub fn least_sum(rows: &[&[f32]]) -> (usize, f32) {
    let len = rows[0].len();
    assert!((1..=LONGEST).contains(&len) && rows.iter().all(|row| row.len() == len), "rows of one length");
    least(rows)
}

/// Longest rows of [`least_sum`].
const LONGEST: usize = 4096;

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

widest! {
    fn least(rows: &[&[f32]]) -> (usize, f32);
    avx512: least_body, avx2: least_body, plain: least_body
}

#[inline(always)]
fn least_body(rows: &[&[f32]]) -> (usize, f32) {
    /// Values that are added before the next ones: they stay in registers.
    const TILE: usize = 64;
    let mut best = (0, f32::INFINITY);
    for start in (0..rows[0].len()).step_by(TILE) {
        let end = (start + TILE).min(rows[0].len());
        let mut sums = [f32::INFINITY; TILE];
        if end - start == TILE {
            sums.copy_from_slice(&rows[0][start..end]);
            for row in &rows[1..] {
                for (sum, value) in sums.iter_mut().zip(&row[start..end]) {
                    *sum += value;
                }
            }
        } else {
            sums[..end - start].copy_from_slice(&rows[0][start..end]);
            for row in &rows[1..] {
                sums.iter_mut().zip(&row[start..end]).for_each(|(sum, value)| *sum += value);
            }
        }
        let mut low = [f32::INFINITY; 16];
        for sums in sums.as_chunks::<16>().0 {
            low.iter_mut().zip(sums).for_each(|(low, &sum)| *low = if sum < *low { sum } else { *low });
        }
        let low = low.into_iter().fold(f32::INFINITY, f32::min);
        if low < best.1 {
            best = (start + sums.iter().position(|&sum| sum == low).unwrap_or(0), low);
        }
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
            prop_assert_eq!(least_sum(&views), (best, sums[best]));
            let mut found = Vec::new();
            below(&sums, limit, first, &mut found);
            let want: Vec<u32> =
                (first..).zip(&sums).filter(|(_, sum)| **sum <= limit).map(|(at, _)| at).collect();
            prop_assert_eq!(found, want);
        }
    }
}
