//! The scan of RaBitQ codes: signs of 32 vectors at once, then the other bits of those that could be near.
//!
//! A block holds 32 vectors: their signs as [`fast_scan`] packs four to a part, 32 times each of `|r|^2`,
//! `<vector - mean, mean>` and the `f` of the signs, then vector by vector what is left of the code. Sums over the signs come from tables of a
//! query rounded to bytes. With one bit they are the estimate; with more, a vector is estimated by its whole
//! code where the rough estimate could be that of a vector at the `k`-th distance so far.
//!
//! A vector that has the inner product `w` with the query would be estimated with an error of
//! `e sqrt(|q|^2 - w^2 / |r|^2)`: only what of the query is across `r` is noise. For near vectors that is much less
//! than the `e |q|` of a bound which knows nothing of `w`.

use super::{Factors, Frame, RaBitQ, float};
use crate::{Codec, Scanner, Slab};
use data::Metric;
use kernels::fast_scan::{self, BLOCK, Table};
use kernels::{Isa, TopK};

/// How many times the error a rough estimate may be off before a near vector is lost.
const EPSILON: f32 = 3.0;
/// Signs of a part, and entries of its table.
const SIGNS: usize = 4;
const ENTRIES: usize = 1 << SIGNS;

/// Factors of which a block has 32 side by side: `|r|^2`, `<vector - mean, mean>` and the `f` of the signs.
const COLUMNS: usize = 3;

/// Where the pieces of a block and of a code are.
#[derive(Clone, Copy)]
struct Layout {
    bits: u32,
    padded: usize,
    sign_len: usize,
    low_len: usize,
    code_len: usize,
    block_len: usize,
}

impl Layout {
    fn of(codec: &RaBitQ) -> Self {
        let (sign_len, low_len) = (codec.sign_len(), codec.low_len());
        let code_len = codec.code_len();
        let block_len = BLOCK * code_len;
        Self { bits: codec.bits, padded: codec.padded(), sign_len, low_len, code_len, block_len }
    }

    fn sign_parts(self) -> usize {
        self.padded / SIGNS
    }

    /// Bytes of a block's signs; there are whole chunks of parts, so packing adds nothing.
    fn signs(self) -> usize {
        BLOCK * self.sign_len
    }

    /// Bytes of a vector that are not in its block's columns.
    fn rest(self) -> usize {
        self.code_len - self.sign_len - 4 * COLUMNS
    }
}

/// Bytes of the blocks of `rows` vectors.
pub(super) fn packed_len(codec: &RaBitQ, rows: usize) -> usize {
    rows.div_ceil(BLOCK) * Layout::of(codec).block_len
}

/// The codes in blocks; what is missing of the last is zeros.
pub(super) fn pack(codec: &RaBitQ, codes: &[u8]) -> Vec<u8> {
    let layout = Layout::of(codec);
    let count = codes.len() / layout.code_len;
    let mut packed = vec![0; count.div_ceil(BLOCK) * layout.block_len];
    let blocks = packed.chunks_exact_mut(layout.block_len);
    for (codes, block) in codes.chunks(BLOCK * layout.code_len).zip(blocks) {
        let (signs, tail) = block.split_at_mut(layout.signs());
        let (columns, rest) = tail.split_at_mut(4 * COLUMNS * BLOCK);
        for (v, code) in codes.chunks_exact(layout.code_len).enumerate() {
            let (own, code) = code.split_at(layout.sign_len);
            fast_scan::set(signs, layout.sign_parts(), v, own);
            let (low, factors) = code.split_at(layout.low_len);
            let (own, factors) = factors.split_at(4 * COLUMNS);
            for (column, factor) in columns.chunks_exact_mut(4 * BLOCK).zip(own.chunks_exact(4)) {
                column[4 * v..4 * v + 4].copy_from_slice(factor);
            }
            let own = &mut rest[v * layout.rest()..][..layout.rest()];
            own[..layout.low_len].copy_from_slice(low);
            own[layout.low_len..].copy_from_slice(factors);
        }
    }
    packed
}

/// A query's sums over signs: about `sum / scale + base`, off by `slack` at most.
struct Sums {
    table: Table,
    scale: f32,
    base: f32,
    slack: f32,
}

impl Sums {
    fn new(values: &[f32]) -> Self {
        let span = |part: &[f32]| part.iter().map(|value| value.abs()).sum::<f32>();
        let spans = values.chunks_exact(SIGNS).map(span);
        let (widest, all) = spans.fold((0f32, 0f32), |(widest, all), span| (widest.max(span), all + span));
        let parts = (values.len() / SIGNS) as f32;
        // Sums have sixteen bits, and each entry may be rounded up.
        let scale = (255.0 / widest).min((f32::from(u16::MAX) - parts) / all);
        let scale = if scale.is_finite() && scale > 0.0 { scale } else { 1.0 };
        let mut base = 0.0;
        let mut entries = Vec::with_capacity(values.len() * ENTRIES / SIGNS);
        for part in values.chunks_exact(SIGNS) {
            let least: f32 = part.iter().map(|value| value.min(0.0)).sum();
            base += least;
            entries.extend((0..ENTRIES).map(|set| {
                let chosen = part.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1);
                let sum: f32 = chosen.map(|(_, value)| value).sum();
                (scale * (sum - least) + 0.5) as u8
            }));
        }
        Self { table: Table::new(&entries), scale, base, slack: 0.5 * parts / scale }
    }
}

/// One query and what it has found.
struct Search {
    frame: Frame,
    sums: Sums,
    top: TopK,
}

/// The nearest of packed codes for a few queries.
pub(super) struct BlockScanner {
    layout: Layout,
    searches: Vec<Search>,
    signs: Vec<u8>,
}

impl BlockScanner {
    pub(super) fn new(codec: &RaBitQ, frames: Vec<Frame>, k: usize) -> Self {
        let layout = Layout::of(codec);
        let search = |frame: Frame| Search { sums: Sums::new(&frame.values), frame, top: TopK::new(k) };
        let searches = frames.into_iter().map(search).collect();
        Self { layout, searches, signs: vec![0; layout.sign_len] }
    }
}

impl BlockScanner {
    /// Vectors of a block that could be among the nearest of a query, by their rough estimates, which are
    /// written to `distances`; the rest of `distances` says nothing.
    ///
    /// Without branches, so that it becomes vector instructions.
    #[inline]
    fn near(
        layout: Layout,
        search: &Search,
        sums: &[u16; BLOCK],
        [norms, leans, roughs]: &[[f32; BLOCK]; COLUMNS],
        distances: &mut [f32; BLOCK],
    ) -> u32 {
        let (frame, rounded) = (&search.frame, &search.sums);
        let limit = search.top.threshold().filter(|limit| !limit.is_nan()).unwrap_or(f32::INFINITY);
        let slope = frame.weight / rounded.scale;
        let middle = frame.weight * (rounded.base - 0.5 * frame.sum);
        let (own, sign) = match frame.metric {
            Metric::L2 => (norms, 1.0),
            Metric::Dot => (leans, -1.0),
        };
        for v in 0..BLOCK {
            let product = slope * f32::from(sums[v]) + middle;
            distances[v] = sign * own[v] + frame.base - roughs[v] * product;
        }
        let mut near = [false; BLOCK];
        if layout.bits == 1 {
            (0..BLOCK).for_each(|v| near[v] = distances[v] <= limit);
        } else {
            let slack = frame.weight * rounded.slack;
            let spread = EPSILON * EPSILON / (layout.padded - 1) as f32;
            let most = (frame.weight * frame.length).powi(2);
            let length = 0.25 * layout.padded as f32;
            for v in 0..BLOCK {
                let above = distances[v] - roughs[v] * slack - limit;
                // The inner product that a vector at the limit would have, if it is positive.
                let product = (sign * own[v] + frame.base - limit).max(0.0);
                // Compared by squares, which spares roots and divisions.
                let error = spread * (roughs[v] * roughs[v] * length - norms[v]);
                let within = above * above * norms[v] <= error * (most * norms[v] - product * product);
                near[v] = (above <= 0.0) | within;
            }
        }
        if near == [false; BLOCK] {
            return 0;
        }
        (0..BLOCK).fold(0, |mask, v| mask | u32::from(near[v]) << v)
    }
}

/// A block's factors, column by column.
fn columns(bytes: &[u8]) -> [[f32; BLOCK]; COLUMNS] {
    let words = bytes.as_chunks().0;
    std::array::from_fn(|column| std::array::from_fn(|v| f32::from_le_bytes(words[column * BLOCK + v])))
}

impl Scanner for BlockScanner {
    fn scan(&mut self, slab: &Slab<'_>, which: &[u32]) {
        let Slab { packed, len, first, .. } = *slab;
        let isa = Isa::current();
        let layout = self.layout;
        let blocks = packed.chunks_exact(layout.block_len).take(len.div_ceil(BLOCK));
        let (mut sums, mut distances) = ([0; BLOCK], [0.0; BLOCK]);
        for (number, block) in blocks.enumerate() {
            let (signs, tail) = block.split_at(layout.signs());
            let (factors, rest) = tail.split_at(4 * COLUMNS * BLOCK);
            let columns = columns(factors);
            let start = number * BLOCK;
            let mut present = u32::MAX >> (BLOCK - BLOCK.min(len - start));
            if let Some(live) = slab.live {
                present &= (live[start / 64] >> (start % 64)) as u32;
            }
            if present == 0 {
                continue;
            }
            for &query in which {
                let search = &mut self.searches[query as usize];
                isa.fast_scan_sums(signs, &search.sums.table, 0, &mut sums);
                let mut near = present & Self::near(layout, search, &sums, &columns, &mut distances);
                while near != 0 {
                    let v = near.trailing_zeros() as usize;
                    near &= near - 1;
                    let mut distance = distances[v];
                    if layout.bits > 1 {
                        fast_scan::get(signs, layout.sign_parts(), v, &mut self.signs);
                        let (low, tail) = rest[v * layout.rest()..].split_at(layout.low_len);
                        let product = search.frame.product(isa, &self.signs, low, layout.bits);
                        let [norms, leans, roughs] = &columns;
                        let (norm, lean, rough) = (norms[v], leans[v], roughs[v]);
                        let (scale, error) = (float(tail, 0), float(tail, 1));
                        let factors = Factors { norm, lean, rough, scale, error };
                        distance = search.frame.distance(factors, product);
                    }
                    if search.top.would_keep(distance) {
                        search.top.push(distance, first + (start + v) as u64);
                    }
                }
            }
        }
    }

    fn finish(self: Box<Self>) -> Vec<Vec<(f32, u64)>> {
        let list = |search: Search| {
            let mut list = search.top.into_sorted();
            // Squares below zero rank as they are, and only then become zeros, which tie.
            list.iter_mut().for_each(|(distance, _)| *distance = search.frame.floored(*distance));
            list.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            list
        };
        self.searches.into_iter().map(list).collect()
    }
}
