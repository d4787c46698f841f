//! The walk over blocks: all queries visit a tile of them, a few at once, before the next tile is read.

use super::bounds::Bounds;
use super::{BLOCK, Codes, Query, Sums, TOGETHER, block_len};
use crate::line::Line;
use std::ops::Range;

/// Bytes of a tile: it stays in the L1 cache, and so does the next one, which is on its way meanwhile.
const TILE: usize = 16 << 10;
/// Queries from which dealing chunks out in memory pays, where the registers want them so.
const WORTH_DEALING: usize = 3;

/// Some blocks of codes.
#[derive(Clone)]
struct Tile<'a> {
    codes: &'a Codes<'a>,
    blocks: Range<usize>,
    /// Their chunks, as the instruction set wants them.
    chunks: &'a [u8],
    /// Number of the first row of all.
    first: u32,
    /// What is read after this, asked for bit by bit: by itself, hardware stops at the end of a page.
    ahead: &'a [u8],
}

impl<'a> Tile<'a> {
    /// The blocks with their chunks, each of which asks for its share of what is ahead.
    #[inline(always)]
    fn blocks(&self) -> impl Iterator<Item = (usize, &'a [u8])> {
        let each = (self.chunks.len() / self.blocks.len()).max(1);
        let share = self.ahead.len().div_ceil(self.blocks.len()).next_multiple_of(64);
        let ahead = self.ahead;
        self.blocks.clone().zip(self.chunks.chunks_exact(each)).enumerate().map(move |(i, block)| {
            let rest = ahead.get(i * share..).unwrap_or_default();
            rest[..share.min(rest.len())].chunks(512).for_each(crate::prefetch);
            block
        })
    }

    /// This tile for group `i` of `of`, which asks for its share of what is ahead.
    #[inline(always)]
    fn share(&self, i: usize, of: usize) -> Self {
        let share = self.ahead.len().div_ceil(of).next_multiple_of(64);
        let (start, end) = (self.ahead.len().min(i * share), self.ahead.len().min(i * share + share));
        Self { ahead: &self.ahead[start..end], ..self.clone() }
    }

    /// Number of the first row of `block`.
    #[inline(always)]
    fn row(&self, block: usize) -> u32 {
        self.first + (block * BLOCK) as u32
    }
}

/// Scores every block for every query, `MANY` of them at once: as many as leave the sums in registers.
///
/// # Safety
/// The instruction set of `S` must be present.
#[inline(always)]
pub(super) unsafe fn scan_all<S: Sums, const MANY: usize>(
    codes: &Codes<'_>,
    first: u32,
    queries: &mut [Query<'_>],
) {
    let len = block_len(codes.parts);
    let step = (TILE / len).max(1);
    let mut dealt = Vec::new();
    let mut bounds: Vec<(Bounds, u8)> = queries.iter().map(|_| Default::default()).collect();
    for start in (0..codes.live.blocks()).step_by(step) {
        let blocks = start..(start + step).min(codes.live.blocks());
        let (chunks, ahead) = codes.packed[blocks.start * len..].split_at(blocks.len() * len);
        let mut tile = Tile { codes, blocks, chunks, first, ahead: &ahead[..ahead.len().min(step * len)] };
        // SAFETY: the token is the caller's.
        unsafe {
            if S::DEALT > 1 && queries.len() >= WORTH_DEALING {
                tile.chunks = dealt_out::<S>(chunks, &mut dealt);
                if S::BOUNDED > 0 {
                    bound_tile::<S, MANY>(&tile, queries, &mut bounds);
                } else {
                    scan_tile::<S, MANY, true>(&tile, queries);
                }
            } else {
                scan_tile::<S, MANY, false>(&tile, queries);
            }
        }
    }
}

/// The chunks as `S` wants them, in `dealt`.
///
/// # Safety
/// The instruction set of `S` must be present.
#[inline(always)]
unsafe fn dealt_out<'a, S: Sums>(chunks: &[u8], dealt: &'a mut Vec<Line>) -> &'a [u8] {
    dealt.resize(S::DEALT * chunks.len() / 64, Line([0; 64]));
    // SAFETY: the token is the caller's; lines are plain bytes.
    unsafe {
        S::deal(chunks, dealt);
        std::slice::from_raw_parts(dealt.as_ptr().cast(), S::DEALT * chunks.len())
    }
}

/// Scores a tile for every query, `MANY` at once.
///
/// # Safety
/// The instruction set of `S` must be present; the chunks were dealt if `D`.
#[inline(always)]
unsafe fn scan_tile<S: Sums, const MANY: usize, const D: bool>(tile: &Tile<'_>, queries: &mut [Query<'_>]) {
    let groups = queries.len().div_ceil(MANY);
    for (i, group) in queries.chunks_mut(MANY).enumerate() {
        let tile = tile.share(i, groups);
        // SAFETY: the token is the caller's.
        unsafe {
            match group.len() {
                1 => scan::<S, 1, D>(&tile, group),
                2 => scan::<S, 2, D>(&tile, group),
                3 => scan::<S, 3, D>(&tile, group),
                _ => scan::<S, 4, D>(&tile, group),
            }
        }
    }
}

/// Scores a tile for `Q` queries.
///
/// # Safety
/// The instruction set of `S` must be present; the chunks were dealt if `D`.
#[inline(always)]
unsafe fn scan<S: Sums, const Q: usize, const D: bool>(tile: &Tile<'_>, queries: &mut [Query<'_>]) {
    let lines = tile.codes.parts.div_ceil(TOGETHER);
    let (mut tables, mut biases, mut limits) = ([std::ptr::null(); Q], [0; Q], [0; Q]);
    for (q, query) in queries.iter().enumerate().take(Q) {
        (tables[q], biases[q], limits[q]) = (query.table.lines.as_ptr(), query.bias, query.found.limit());
    }
    for (block, at) in tile.blocks() {
        // SAFETY: the slice has `lines` chunks, the tables (checked by `Isa::fast_scan`) as many lines; the
        // token is the caller's.
        let sums = unsafe { S::of::<Q, D>(at.as_ptr(), lines, tables, biases) };
        let mut masks = [0; Q];
        let mut any = 0;
        for q in 0..Q {
            // SAFETY: the token is the caller's.
            masks[q] = unsafe { sums[q].within(limits[q]) };
            any |= masks[q];
        }
        if any == 0 {
            continue;
        }
        let live = tile.codes.live.of(block);
        for q in 0..Q {
            if masks[q] & live != 0 {
                // SAFETY: the token is the caller's.
                let sums = unsafe { sums[q].store() };
                limits[q] = queries[q].found.admit(tile.row(block), masks[q] & live, &sums);
            }
        }
    }
}

/// Scores a dealt tile for every query, with bounds where they help.
///
/// # Safety
/// The instruction set of `S` must be present.
#[inline(always)]
unsafe fn bound_tile<S: Sums, const MANY: usize>(
    tile: &Tile<'_>,
    queries: &mut [Query<'_>],
    bounds: &mut [(Bounds, u8)],
) {
    let groups = queries.len().div_ceil(S::BOUNDED);
    let each = queries.chunks_mut(S::BOUNDED).zip(bounds.chunks_mut(S::BOUNDED));
    for (i, (group, bounds)) in each.enumerate() {
        let tile = tile.share(i, groups);
        let mut all = true;
        for (query, (bounds, cut)) in group.iter().zip(&mut *bounds) {
            let now = bounds.cut(query.table, query.bias, query.found.limit());
            all &= now.is_some();
            *cut = now.unwrap_or_default();
        }
        // SAFETY: the token is the caller's.
        unsafe {
            match group.len() {
                _ if !all => scan_tile::<S, MANY, true>(&tile, group),
                1 => scan_bounded::<S, 1>(&tile, group, bounds),
                2 => scan_bounded::<S, 2>(&tile, group, bounds),
                3 => scan_bounded::<S, 3>(&tile, group, bounds),
                _ => scan_bounded::<S, 4>(&tile, group, bounds),
            }
        }
    }
}

/// As [`scan`] of a dealt tile, for queries whose bounds are made: adds up only blocks that these leave.
///
/// # Safety
/// The instruction set of `S` must be present.
#[inline(always)]
unsafe fn scan_bounded<S: Sums, const Q: usize>(
    tile: &Tile<'_>,
    queries: &mut [Query<'_>],
    bounds: &[(Bounds, u8)],
) {
    let lines = tile.codes.parts.div_ceil(TOGETHER);
    let (mut tables, mut cuts) = ([std::ptr::null(); Q], [0; Q]);
    for (q, (bounds, cut)) in bounds.iter().enumerate().take(Q) {
        (tables[q], cuts[q]) = (bounds.lines.as_ptr(), *cut);
    }
    for (block, at) in tile.blocks() {
        // SAFETY: the slice has `lines` dealt chunks, the bounds as many lines as the tables, which
        // `Isa::fast_scan` checked; the token is the caller's.
        let left = unsafe { S::any_left::<Q>(at.as_ptr(), lines, tables, cuts) };
        if left == [false; Q] {
            continue;
        }
        for q in 0..Q {
            if left[q] {
                let query = &mut queries[q];
                // SAFETY: as above.
                let (mask, sums) = unsafe {
                    let tables = [query.table.lines.as_ptr()];
                    let [sums] = S::of::<1, true>(at.as_ptr(), lines, tables, [query.bias]);
                    (sums.within(query.found.limit()), sums.store())
                };
                let mask = mask & tile.codes.live.of(block);
                if mask != 0 {
                    query.found.admit(tile.row(block), mask, &sums);
                }
            }
        }
    }
}
