//! Hamming distances of codes of any number of bytes: pairs, one-to-many, and fused top-k.
//!
//! Scans of several queries turn a tile of rows into columns of 64-bit words (the last word filled up with
//! zeros), once for all; 32 rows are then compared at a time, with as many queries as stay in registers.
//! For few queries that would take longer than it saves, and the rows are compared as they lie.
//! Sources: Muła, Kurz and Lemire, The Computer Journal 2018 (counting bits with a table of nibbles).

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(test)]
mod tests;
mod tiles;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::{CountingTopK, Isa};
use tiles::{Tile, Tiles, padded};

/// Rows compared at a time.
const GROUP: usize = 32;

/// One query of a scan.
#[derive(Debug)]
pub struct Query<'a> {
    /// As long as a row.
    pub code: &'a [u8],
    /// Takes the rows; must admit distances up to the bits of a row.
    pub found: &'a mut CountingTopK,
}

/// The distances of 32 rows, in the registers of one instruction set.
///
/// # Safety
/// Every method needs the instruction set of the implementing type; callers hold its token.
trait Distances: Copy {
    /// The distances to `Q` queries of `words` words. Word `w` of row `r` is at `columns[w * stride + r]`;
    /// columns need not be aligned.
    unsafe fn of<const Q: usize>(
        columns: *const u64,
        stride: usize,
        words: usize,
        queries: [*const u64; Q],
    ) -> [Self; Q];
    /// Whether rows of `bytes` have a kernel in [`Distances::of_rows`].
    fn reads_rows(_bytes: usize) -> bool {
        false
    }
    /// The distances to one query of the 32 rows at `rows`, each of `words` whole words; none where that
    /// number of words has no kernel.
    #[inline(always)]
    unsafe fn of_rows(_rows: *const u8, _words: usize, _query: *const u64) -> Option<Self> {
        None
    }
    /// Distances in row order.
    unsafe fn load(distances: [u32; GROUP]) -> Self;
    /// Whether any distance is at most `limit`.
    unsafe fn any_within(self, limit: u32) -> bool;
    /// Bit `r` says whether row `r` has a distance of at most `limit`.
    unsafe fn within(self, limit: u32) -> u32;
    /// The distances in row order.
    unsafe fn store(self) -> [u32; GROUP];
    /// Writes `first + r` for the bits `r` of `mask` to `to`, which has room for 48 numbers (those past
    /// the bits set may be overwritten), and returns how many there are.
    #[inline(always)]
    unsafe fn append(first: u32, mut mask: u32, to: *mut u32) -> usize {
        let count = mask.count_ones() as usize;
        for i in 0..count {
            // SAFETY: there is room for one number a bit.
            unsafe { to.add(i).write(first + mask.trailing_zeros()) };
            mask &= mask - 1;
        }
        count
    }
}

/// The definition.
impl Distances for [u32; GROUP] {
    #[inline(always)]
    unsafe fn of<const Q: usize>(
        columns: *const u64,
        stride: usize,
        words: usize,
        queries: [*const u64; Q],
    ) -> [Self; Q] {
        let mut out = [[0; GROUP]; Q];
        for q in 0..Q {
            for (r, distance) in out[q].iter_mut().enumerate() {
                for w in 0..words {
                    // SAFETY: the caller lets us read `words` words of each query and of 32 rows.
                    let (a, b) =
                        unsafe { (queries[q].add(w).read(), columns.add(w * stride + r).read_unaligned()) };
                    *distance += (a ^ b).count_ones();
                }
            }
        }
        out
    }

    #[inline(always)]
    unsafe fn load(distances: [u32; GROUP]) -> Self {
        distances
    }

    #[inline(always)]
    unsafe fn any_within(self, limit: u32) -> bool {
        self.iter().fold(false, |any, &distance| any | (distance <= limit))
    }

    #[inline(always)]
    unsafe fn within(self, limit: u32) -> u32 {
        (0..GROUP).fold(0, |mask, row| mask | (u32::from(self[row] <= limit) << row))
    }

    #[inline(always)]
    unsafe fn store(self) -> [u32; GROUP] {
        self
    }
}

/// The distances of the group of rows that starts at row `row` of the tile to `Q` queries of `words` words;
/// rows past the end have any. Tiles without columns take one query.
///
/// # Safety
/// The queries have `words` words, as the rows have; the instruction set of `D` must be present.
#[inline(always)]
unsafe fn group<D: Distances, const Q: usize>(
    tile: &Tile<'_>,
    row: usize,
    words: usize,
    queries: [*const u64; Q],
) -> [D; Q] {
    if Q == 1
        && let Some(all) = tile.alone
    {
        ask_ahead(all, row * tile.bytes, GROUP * tile.bytes);
    }
    if Q > 1 || tile.columns.is_some() {
        // With no way around the columns for several queries, their sums never leave the registers.
        let columns = tile.columns.expect("several queries read columns");
        // SAFETY: columns are filled up to whole groups; the token is the caller's.
        return unsafe { D::of::<Q>(columns.add(row), tile.stride, words, queries) };
    }
    let rows = &tile.rows[row * tile.bytes..];
    let whole = tile.bytes == 8 * words && row + GROUP <= tile.count && cfg!(target_endian = "little");
    // SAFETY: there are 32 rows of `words` words; the token is the caller's.
    let found = if whole { unsafe { D::of_rows(rows.as_ptr(), words, queries[0]) } } else { None };
    // SAFETY: the caller lets us read `words` words; the token is the caller's.
    let found = found.unwrap_or_else(|| unsafe {
        let query = std::slice::from_raw_parts(queries[0], words);
        D::load(one_by_one(query, rows, tile.bytes))
    });
    [found; Q]
}

/// Asks memory for what is read a page after the `len` bytes at `at`: by itself, hardware stops at the end of
/// a page.
#[inline(always)]
fn ask_ahead(all: &[u8], at: usize, len: usize) {
    const PAGE: usize = 4096;
    let end = all.len().min(at + PAGE + len);
    all.get(at + PAGE..end).unwrap_or_default().chunks(512).for_each(crate::prefetch);
}

/// The distances of 32 rows at most.
#[inline(always)]
fn one_by_one(query: &[u64], rows: &[u8], bytes: usize) -> [u32; GROUP] {
    let mut out = [0; GROUP];
    for (out, row) in out.iter_mut().zip(rows.chunks_exact(bytes)) {
        let (whole, rest) = row.as_chunks::<8>();
        for (query, &word) in query.iter().zip(whole) {
            *out += (query ^ u64::from_le_bytes(word)).count_ones();
        }
        if !rest.is_empty() {
            *out += (query[whole.len()] ^ padded(rest)).count_ones();
        }
    }
    out
}

/// A code as words.
fn words(code: &[u8]) -> impl Iterator<Item = u64> {
    code.chunks(8).map(padded)
}

/// Offers the rows of a tile to `Q` queries.
///
/// # Safety
/// `codes` has `words` words a query; the instruction set of `D` must be present.
#[inline(always)]
unsafe fn scan<D: Distances, const Q: usize>(
    tile: &Tile<'_>,
    words: usize,
    codes: &[u64],
    first: u32,
    live: Option<&[u32]>,
    queries: &mut [Query<'_>],
) {
    let mut at = [std::ptr::null(); Q];
    for (q, at) in at.iter_mut().enumerate() {
        *at = codes[q * words..][..words].as_ptr();
    }
    // None for a query whose collector wants no more rows.
    let mut limits = [None; Q];
    let number = first + tile.first as u32;
    for (limit, query) in limits.iter_mut().zip(&*queries) {
        *limit = query.found.limit(number);
    }
    for row in (0..tile.count).step_by(GROUP) {
        // SAFETY: the caller's.
        let distances = unsafe { group::<D, Q>(tile, row, words, at) };
        for q in 0..Q {
            let Some(limit) = limits[q] else { continue };
            // SAFETY: the token is the caller's.
            if !unsafe { distances[q].any_within(limit) } {
                continue;
            }
            let rest = tile.count - row;
            let whole = if rest < GROUP { (1 << rest) - 1 } else { u32::MAX };
            let alive = live.map_or(whole, |live| live[(tile.first + row) / GROUP] & whole);
            // SAFETY: the token is the caller's.
            let (mask, stored) = unsafe { (distances[q].within(limit) & alive, distances[q].store()) };
            limits[q] = admit(queries[q].found, number + row as u32, mask, &stored);
        }
    }
}

#[inline(never)]
fn admit(found: &mut CountingTopK, first: u32, mut mask: u32, distances: &[u32; GROUP]) -> Option<u32> {
    while mask != 0 {
        let r = mask.trailing_zeros();
        found.push(distances[r as usize], first + r);
        mask &= mask - 1;
    }
    found.limit(first + GROUP as u32)
}

/// Offers all rows to all queries, `MANY` at once.
///
/// # Safety
/// The instruction set of `D` must be present.
#[inline(always)]
unsafe fn scan_all<D: Distances, const MANY: usize>(
    rows: &[u8],
    bytes: usize,
    first: u32,
    live: Option<&[u32]>,
    queries: &mut [Query<'_>],
) {
    let mut tiles = Tiles::new::<D>(rows, bytes, queries.len());
    let len = bytes.div_ceil(8);
    let codes: Vec<u64> = queries.iter().flat_map(|query| words(query.code)).collect();
    let mut start = 0;
    while start < rows.len() / bytes {
        let tile = tiles.at(start);
        let many = if tile.columns.is_some() { MANY } else { 1 };
        for (queries, codes) in queries.chunks_mut(many).zip(codes.chunks(many * len)) {
            // SAFETY: as many codes as queries; the token is the caller's.
            unsafe {
                match queries.len() {
                    1 => scan::<D, 1>(&tile, len, codes, first, live, queries),
                    2 => scan::<D, 2>(&tile, len, codes, first, live, queries),
                    3 => scan::<D, 3>(&tile, len, codes, first, live, queries),
                    _ => scan::<D, 4>(&tile, len, codes, first, live, queries),
                }
            }
        }
        start += tile.count;
    }
}

/// The distances of all rows.
///
/// # Safety
/// The instruction set of `D` must be present.
#[inline(always)]
unsafe fn distances_all<D: Distances>(query: &[u8], rows: &[u8], out: &mut [u32]) {
    let mut tiles = Tiles::new::<D>(rows, query.len(), 1);
    let code: Vec<u64> = words(query).collect();
    let mut start = 0;
    while start < out.len() {
        let tile = tiles.at(start);
        for (i, out) in out[start..start + tile.count].chunks_mut(GROUP).enumerate() {
            // SAFETY: the code has its words; the token is the caller's.
            let distances =
                unsafe { group::<D, 1>(&tile, i * GROUP, code.len(), [code.as_ptr()])[0].store() };
            out.copy_from_slice(&distances[..out.len()]);
        }
        start += tile.count;
    }
}

/// Appends the numbers of the rows within `limit`.
///
/// # Safety
/// The instruction set of `D` must be present.
#[inline(always)]
unsafe fn gate_all<D: Distances>(query: &[u8], rows: &[u8], limit: u32, first: u32, out: &mut Vec<u32>) {
    let mut tiles = Tiles::new::<D>(rows, query.len(), 1);
    let code: Vec<u64> = words(query).collect();
    let mut start = 0;
    while start < rows.len() / query.len() {
        let tile = tiles.at(start);
        for row in (0..tile.count).step_by(GROUP) {
            // SAFETY: the code has its words; the token is the caller's.
            let distances = unsafe { group::<D, 1>(&tile, row, code.len(), [code.as_ptr()])[0] };
            let rest = tile.count - row;
            let whole = if rest < GROUP { (1 << rest) - 1 } else { u32::MAX };
            // SAFETY: as above; the room for 48 numbers is reserved, and `append` says how many it wrote.
            unsafe {
                let mask = distances.within(limit) & whole;
                out.reserve(GROUP + 16);
                let len = out.len();
                let count = D::append(first + (start + row) as u32, mask, out.as_mut_ptr().add(len));
                out.set_len(len + count);
            }
        }
        start += tile.count;
    }
}

/// The distance of one pair.
#[inline(always)]
fn pair(a: &[u8], b: &[u8]) -> u32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let words = a.iter().zip(b).map(|(&a, &b)| (u64::from_le_bytes(a) ^ u64::from_le_bytes(b)).count_ones());
    words.sum::<u32>() + (padded(a_rest) ^ padded(b_rest)).count_ones()
}

/// The distances to the rows `ids`, the next ones on their way to cache.
#[inline(always)]
fn at(query: &[u8], rows: &[u8], ids: &[u32], out: &mut [u32]) {
    /// Rows requested from memory before they are used.
    const AHEAD: usize = 8;
    let row = |id: u32| &rows[id as usize * query.len()..][..query.len()];
    ids.iter().take(AHEAD).for_each(|&id| crate::prefetch(row(id)));
    for (i, (&id, out)) in ids.iter().zip(out).enumerate() {
        if let Some(&next) = ids.get(i + AHEAD) {
            crate::prefetch(row(next));
        }
        *out = pair(query, row(id));
    }
}

/// The functions of one instruction set.
macro_rules! instruction_set {
    ($module:ident, $distances:ty, $many:literal $(, $feature:literal)?) => {
        /// # Safety
        /// Every function needs the features it is compiled with.
        mod $module {
            use super::Query;

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn scan(
                rows: &[u8], bytes: usize, first: u32, live: Option<&[u32]>, queries: &mut [Query<'_>],
            ) {
                // SAFETY: the instruction set is present here.
                unsafe { super::scan_all::<$distances, $many>(rows, bytes, first, live, queries) }
            }

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn distances(query: &[u8], rows: &[u8], out: &mut [u32]) {
                // SAFETY: the instruction set is present here.
                unsafe { super::distances_all::<$distances>(query, rows, out) }
            }

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn gate(query: &[u8], rows: &[u8], limit: u32, first: u32, out: &mut Vec<u32>) {
                // SAFETY: the instruction set is present here.
                unsafe { super::gate_all::<$distances>(query, rows, limit, first, out) }
            }

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn pair(a: &[u8], b: &[u8]) -> u32 {
                super::pair(a, b)
            }

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn at(query: &[u8], rows: &[u8], ids: &[u32], out: &mut [u32]) {
                super::at(query, rows, ids, out);
            }
        }
    };
}

instruction_set!(scalar, [u32; super::GROUP], 1);
#[cfg(target_arch = "x86_64")]
instruction_set!(avx2, super::x86::Distances256, 1, "avx2,popcnt");
#[cfg(target_arch = "x86_64")]
instruction_set!(
    avx512,
    super::x86::Distances512,
    4,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx2,popcnt"
);
#[cfg(target_arch = "aarch64")]
instruction_set!(neon, super::aarch64::Distances128, 1, "neon");

/// Calls the function of the instruction set that `$isa` proves.
macro_rules! on {
    ($isa:expr, $function:ident($($argument:expr),*)) => {
        match $isa {
            // SAFETY: plain Rust needs no instruction set.
            Isa::Scalar => unsafe { scalar::$function($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves AVX-512F, BW, DQ, VL and VPOPCNTDQ.
            Isa::Avx512(token) if token.extensions().popcnt => unsafe { avx512::$function($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: both tokens prove AVX2 and POPCNT.
            Isa::Avx2(_) | Isa::Avx512(_) => unsafe { avx2::$function($($argument),*) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: the token proves NEON.
            Isa::Neon(_) => unsafe { neon::$function($($argument),*) },
        }
    };
}

impl Isa {
    /// Bits in which `a` and `b` differ.
    ///
    /// # Panics
    /// When the lengths differ.
    #[must_use]
    #[inline]
    pub fn hamming(self, a: &[u8], b: &[u8]) -> u32 {
        assert_eq!(a.len(), b.len(), "codes of different lengths");
        on!(self, pair(a, b))
    }

    /// Distances of `query` to each of `rows` (row-major, `out.len() x query.len()` bytes).
    ///
    /// # Panics
    /// When the query is empty or the sizes disagree.
    pub fn hammings(self, query: &[u8], rows: &[u8], out: &mut [u32]) {
        assert!(!query.is_empty() && rows.len() == out.len() * query.len(), "one distance a row");
        on!(self, distances(query, rows, out));
    }

    /// Distances of `query` to the rows named by `ids`, in their order.
    ///
    /// # Panics
    /// When `out` and `ids` differ in length or an id is not a row.
    pub fn hammings_at(self, query: &[u8], rows: &[u8], ids: &[u32], out: &mut [u32]) {
        assert_eq!(ids.len(), out.len(), "one distance an id");
        on!(self, at(query, rows, ids, out));
    }

    /// Offers every row (`bytes` each, row-major, numbered from `first`) to every query. With `live`, only
    /// rows whose bit is set: bit `r % 32` of word `r / 32`. Memory: 24 KiB and the queries' codes.
    ///
    /// # Panics
    /// When `bytes` is zero, rows are not whole, a code is not `bytes` long, there are fewer words than groups
    /// of 32 rows, row numbers pass `u32`, or a collector does not admit a distance.
    pub fn hamming_scan(
        self,
        rows: &[u8],
        bytes: usize,
        first: u32,
        live: Option<&[u32]>,
        queries: &mut [Query<'_>],
    ) {
        assert!(
            bytes > 0 && rows.len().is_multiple_of(bytes),
            "{} bytes are not codes of {bytes}",
            rows.len()
        );
        let count = rows.len() / bytes;
        check_numbers(first, count);
        assert!(live.is_none_or(|live| live.len() >= count.div_ceil(GROUP)), "one word for 32 rows");
        for query in &*queries {
            assert_eq!(query.code.len(), bytes, "bytes of a query and of a row");
        }
        on!(self, scan(rows, bytes, first, live, queries));
    }

    /// Appends to `out` the numbers, from `first` on, of the rows within distance `limit` of `query`.
    ///
    /// # Panics
    /// When the query is empty, rows are not whole, or row numbers pass `u32`.
    pub fn hamming_gate(self, query: &[u8], rows: &[u8], limit: u32, first: u32, out: &mut Vec<u32>) {
        assert!(!query.is_empty() && rows.len().is_multiple_of(query.len()), "rows are not whole");
        check_numbers(first, rows.len() / query.len());
        on!(self, gate(query, rows, limit, first, out));
    }
}

fn check_numbers(first: u32, count: usize) {
    let last = (first as usize).checked_add(count);
    assert!(last.is_some_and(|last| last < u32::MAX as usize - GROUP), "row numbers fit in 32 bits");
}
