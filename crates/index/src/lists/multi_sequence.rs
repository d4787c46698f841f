//! The least sums of two sequences: which cells of a product are nearest.
//!
//! Cell `(i, j)` of a product lies at `u_i + v_j`. The multi-sequence algorithm emits cells in the order of their sums
//! from a heap, at the price of some operations of the heap each; a search that wants many cells reads them in any
//! order. So the sum of the last cell wanted is looked for first: how many cells lie below a bound takes one pass over
//! both sorted sequences, and bounds are halved until they enclose few cells too many. What is found is what the first
//! cells of the algorithm would be.
//! Source: Babenko and Lempitsky, CVPR 2012, algorithm 1, for the order of cells.

use kernels::Reservoir;

/// The cells, numbered `i v.len() + j`, with the `count` least sums `u_i + v_j`: ties go to the lower number; in no
/// order.
///
/// Memory: some words for each cell found and each element. Infinities and NaN count as the largest number.
pub(super) fn least_cells(u: &[f32], v: &[f32], count: usize) -> Vec<u32> {
    let all = u.len() * v.len();
    if count >= all {
        return (0..all as u32).collect();
    }
    if count == 0 {
        return Vec::new();
    }
    let grid = Grid { rows: ascending(u), columns: ascending(v), width: v.len() };
    // Between the orders of the sums of the least and the largest: of at most `low` there are fewer cells than wanted.
    let (mut low, mut high) = (i64::from(order(f32::NEG_INFINITY)) - 1, i64::from(order(f32::INFINITY)));
    let enough = count + count / 8 + 64;
    let least = grid.rows[0].0 + grid.columns[0].0;
    let most = grid.rows[grid.rows.len() - 1].0 + grid.columns[grid.columns.len() - 1].0;
    let (mut from, mut to) = (least, most);
    // Sums are spread over their range rather than over the numbers of floats: halve that first.
    for _ in 0..HALVES {
        let middle = from + (to - from) / 2.0;
        if !middle.is_finite() {
            break;
        }
        let below = grid.below(middle);
        if below < count {
            (from, low) = (middle, low.max(i64::from(order(middle))));
        } else {
            (to, high) = (middle, high.min(i64::from(order(middle))));
            if below <= enough {
                return grid.chosen(middle, count);
            }
        }
    }
    // Many cells lie at nearly the same sum.
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if grid.below(value(middle as i32)) < count {
            low = middle;
        } else {
            high = middle;
        }
    }
    let mut cells = if low < i64::from(order(f32::NEG_INFINITY)) {
        Vec::new()
    } else {
        grid.cells(value(low as i32)).map(|(_, cell)| cell).collect()
    };
    grid.fill(value(high as i32), count, &mut cells);
    cells
}

/// Times that the range of sums is halved before floats are.
const HALVES: usize = 24;

/// Numbers whose sums are in the order of the numbers: neither NaN nor a negative zero comes of them.
fn clean(value: f32) -> f32 {
    if value.is_nan() { f32::MAX } else { value.clamp(f32::MIN, f32::MAX) + 0.0 }
}

/// Values with their positions, ascending.
fn ascending(values: &[f32]) -> Vec<(f32, u32)> {
    let mut pairs: Vec<(f32, u32)> = values.iter().copied().map(clean).zip(0..).collect();
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    pairs
}

/// Integers in the order of [`f32::total_cmp`].
fn order(value: f32) -> i32 {
    let bits = value.to_bits() as i32;
    bits ^ (((bits >> 31) as u32) >> 1) as i32
}

/// The inverse of [`order`].
fn value(order: i32) -> f32 {
    f32::from_bits((order ^ (((order >> 31) as u32) >> 1) as i32) as u32)
}

/// Both sequences, sorted.
struct Grid {
    rows: Vec<(f32, u32)>,
    columns: Vec<(f32, u32)>,
    width: usize,
}

impl Grid {
    /// For each row that has any, the number of its columns with sums of at most `bound`. Fewer in each next row.
    #[inline(always)]
    fn steps(&self, bound: f32) -> impl Iterator<Item = (f32, u32, usize)> {
        let mut width = self.columns.len();
        self.rows.iter().map_while(move |&(u, i)| {
            while width > 0 && u + self.columns[width - 1].0 > bound {
                width -= 1;
            }
            (width > 0).then_some((u, i, width))
        })
    }

    /// Cells with sums of at most `bound`.
    fn below(&self, bound: f32) -> usize {
        self.steps(bound).map(|(.., width)| width).sum()
    }

    /// Cells with sums of at most `bound`, with their sums.
    fn cells(&self, bound: f32) -> impl Iterator<Item = (f32, u32)> {
        self.steps(bound).flat_map(move |(u, i, width)| {
            let columns = self.columns[..width].iter();
            columns.map(move |&(v, j)| (u + v, i * self.width as u32 + j))
        })
    }

    /// The `count` least of the cells with sums of at most `bound`, of which there are as many and few more.
    fn chosen(&self, bound: f32, count: usize) -> Vec<u32> {
        let key = |(sum, cell): (f32, u32)| u64::from(order(sum) as u32 ^ (1 << 31)) << 32 | u64::from(cell);
        let mut keys: Vec<u64> = self.cells(bound).map(key).collect();
        if count < keys.len() {
            keys.select_nth_unstable(count - 1);
            keys.truncate(count);
        }
        keys.into_iter().map(|key| key as u32).collect()
    }

    /// Appends cells whose sum is `bound`, in the order of their numbers, until there are `count`.
    fn fill(&self, bound: f32, count: usize, cells: &mut Vec<u32>) {
        let missing = count.saturating_sub(cells.len());
        let mut ties = Reservoir::new(missing);
        for &(u, i) in &self.rows {
            for &(v, j) in &self.columns {
                let sum = u + v;
                if sum == bound {
                    ties.push(0.0, i * self.width as u32 + j);
                } else if sum > bound {
                    break;
                }
            }
        }
        cells.extend(ties.into_sorted().into_iter().map(|(_, cell)| cell));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By sorting all sums.
    fn sorted(u: &[f32], v: &[f32], count: usize) -> Vec<u32> {
        let sum = |cell: u32| clean(u[cell as usize / v.len()]) + clean(v[cell as usize % v.len()]);
        let mut cells: Vec<u32> = (0..(u.len() * v.len()) as u32).collect();
        cells.sort_by(|&a, &b| sum(a).total_cmp(&sum(b)).then(a.cmp(&b)));
        cells.truncate(count);
        cells.sort_unstable();
        cells
    }

    fn values(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f32>> {
        // Few different values tie; many are far apart.
        prop_oneof![
            prop::collection::vec((0u8..4).prop_map(f32::from), len.clone()),
            prop::collection::vec(-1e3f32..1e3, len.clone()),
            prop::collection::vec(prop_oneof![Just(f32::INFINITY), Just(0.0), Just(3e38), -1f32..1.0], len),
        ]
    }

    proptest! {
        #[test]
        fn the_first_cells_in_order_of_sums_each_once(u in values(1..50), v in values(1..50), count in 0usize..700) {
            let mut got = least_cells(&u, &v, count);
            got.sort_unstable();
            prop_assert_eq!(got, sorted(&u, &v, count));
        }
    }

    #[test]
    fn many_cells_of_one_sum_are_no_burden() {
        let got = least_cells(&[1.0; 2000], &[2.0; 2000], 5);
        assert_eq!(got, [0, 1, 2, 3, 4]);
        assert_eq!(least_cells(&[f32::NAN; 3], &[f32::NAN, 1.0], 4), [1, 3, 5, 0]);
    }
}
