//! Scans of 4-bit product-quantization codes: table look-ups in registers, 32 rows at a time.
//!
//! A code has `parts` nibbles, a query a table of 16 bytes a part, and a row's sum is the query's bias
//! plus its `parts` looked-up bytes. Sums are exact: a [`Table`] whose sum could pass 65535 is refused,
//! so every instruction set gives the same `u16`.
//!
//! Layout: parts are padded with zero nibbles to a multiple of 4, rows to a multiple of 32. Block `b`
//! holds rows `32 b ..`; it is a sequence of 64-byte chunks, one for each 4 parts. Byte `4 v + t` of
//! chunk `c` has part `4 c + t` of row `v` in its low nibble and of row `16 + v` in its high one. The four
//! parts of a row lie together, so that with VBMI and VNNI one byte permutation over a 64-byte table looks
//! up 16 rows x 4 parts and one instruction adds the four bytes of each row; NEON takes the layout apart
//! with its four-way load. The layout that faiss uses, one part a 16-byte lane, needs three additions
//! for each look-up instead.
//! With AVX2, where 16-bit sums take four instructions for 32 look-ups and saturating bytes two, bounds of bytes
//! rule out most blocks first.
//! Sources: André, Kermarrec and Le Scouarnec, VLDB 2015 and ICMR 2017 (tables in registers).

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod bounds;
mod sum_reservoir;
#[cfg(test)]
mod tests;
mod tiles;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use sum_reservoir::SumReservoir;

use crate::Isa;
use crate::line::Line;
use crate::live::Live;

/// Rows of a block.
pub const BLOCK: usize = 32;
/// Parts of a chunk, and bytes of a part's table.
const TOGETHER: usize = 4;
const ENTRIES: usize = 16;

/// Bytes of a row-major code: two parts a byte, the even part in the low nibble.
#[must_use]
pub fn code_len(parts: usize) -> usize {
    parts.div_ceil(2)
}

/// Bytes of a block of 32 rows.
#[must_use]
pub fn block_len(parts: usize) -> usize {
    parts.div_ceil(TOGETHER) * 64
}

/// Bytes of `rows` packed rows.
///
/// # Panics
/// When the number does not fit in memory's address space.
#[must_use]
pub fn packed_len(rows: usize, parts: usize) -> usize {
    rows.div_ceil(BLOCK).checked_mul(block_len(parts)).expect("packed codes fit in the address space")
}

/// Packs row-major codes (`rows x code_len(parts)` bytes) into blocks. Missing rows of the last block
/// are zeros.
///
/// # Panics
/// When `parts` is zero or the codes are not whole rows.
#[must_use]
pub fn pack(codes: &[u8], parts: usize) -> Vec<u8> {
    assert!(parts > 0, "codes need at least one part");
    let len = code_len(parts);
    assert!(codes.len().is_multiple_of(len), "{} bytes are not codes of {len} bytes", codes.len());
    let mut packed = vec![0; packed_len(codes.len() / len, parts)];
    for (row, code) in codes.chunks_exact(len).enumerate() {
        set(&mut packed, parts, row, code);
    }
    packed
}

/// Writes the row-major `code` over row `row` of packed codes.
///
/// # Panics
/// When `code` is not `code_len(parts)` bytes or the row lies outside of `packed`.
pub fn set(packed: &mut [u8], parts: usize, row: usize, code: &[u8]) {
    assert_eq!(code.len(), code_len(parts), "bytes of a code of {parts} parts");
    let block = &mut packed[row / BLOCK * block_len(parts)..][..block_len(parts)];
    let (v, high) = (row % 16, row % BLOCK >= 16);
    for part in 0..parts {
        let nibble = (code[part / 2] >> (4 * (part % 2))) & 15;
        let byte = &mut block[part / TOGETHER * 64 + 4 * v + part % TOGETHER];
        *byte = if high { (*byte & 15) | (nibble << 4) } else { (*byte & 0xf0) | nibble };
    }
}

/// Reads row `row` of packed codes into the row-major `code`.
///
/// # Panics
/// When `code` is not `code_len(parts)` bytes or the row lies outside of `packed`.
pub fn get(packed: &[u8], parts: usize, row: usize, code: &mut [u8]) {
    assert_eq!(code.len(), code_len(parts), "bytes of a code of {parts} parts");
    let block = &packed[row / BLOCK * block_len(parts)..][..block_len(parts)];
    let (v, shift) = (row % BLOCK % 16, if row % BLOCK < 16 { 0 } else { 4 });
    // The four parts of a chunk at once: their nibbles in four bytes, then pairs of them in two.
    for (chunk, code) in block.as_chunks::<64>().0.iter().zip(code.chunks_mut(2)) {
        let nibbles = (u32::from_le_bytes(chunk.as_chunks().0[v]) >> shift) & 0x0f0f_0f0f;
        let pairs = nibbles | nibbles >> 4;
        let bytes = [pairs as u8, (pairs >> 16) as u8];
        code.copy_from_slice(&bytes[..code.len()]);
    }
}

/// The first `rows` rows of packed codes, row-major.
///
/// # Panics
/// When `packed` has fewer rows.
#[must_use]
pub fn unpack(packed: &[u8], parts: usize, rows: usize) -> Vec<u8> {
    let mut codes = vec![0; rows * code_len(parts)];
    for (row, code) in codes.chunks_exact_mut(code_len(parts).max(1)).enumerate() {
        get(packed, parts, row, code);
    }
    codes
}

fn nibble(block: &[u8], row: usize, part: usize) -> u8 {
    let byte = block[part / TOGETHER * 64 + 4 * (row % 16) + part % TOGETHER];
    if row < 16 { byte & 15 } else { byte >> 4 }
}

/// A query's look-up table, `parts x 16` bytes.
#[derive(Clone, Debug)]
pub struct Table {
    /// Four parts a line.
    lines: Vec<Line>,
    parts: usize,
    /// The smallest and the largest sum that a row can have.
    least: u16,
    most: u16,
}

impl Table {
    /// Copies `entries`, 16 a part.
    ///
    /// # Panics
    /// When `entries` is empty or not whole parts, or the sum of the parts' largest entries passes 65535
    /// (at most 257 parts never do).
    #[must_use]
    pub fn new(entries: &[u8]) -> Self {
        assert!(!entries.is_empty() && entries.len().is_multiple_of(ENTRIES), "16 entries a part");
        let most: usize =
            entries.chunks_exact(16).map(|part| usize::from(part.iter().copied().max().unwrap_or(0))).sum();
        let most = u16::try_from(most)
            .unwrap_or_else(|_| panic!("sums up to {most} pass 65535; scale the table down"));
        let mut lines = vec![Line([0; 64]); entries.len().div_ceil(64)];
        for (line, entries) in lines.iter_mut().zip(entries.chunks(64)) {
            line.0[..entries.len()].copy_from_slice(entries);
        }
        let least = entries.as_chunks().0.iter().map(|part| u16::from(bounds::smallest(part))).sum();
        Self { lines, parts: entries.len() / ENTRIES, least, most }
    }

    /// Parts of the codes that it scores.
    #[must_use]
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// The largest bias that leaves every sum within a `u16`.
    #[must_use]
    pub fn room(&self) -> u16 {
        u16::MAX - self.most
    }
}

/// Packed codes to scan.
#[derive(Clone, Copy, Debug)]
pub struct Codes<'a> {
    packed: &'a [u8],
    parts: usize,
    live: Live<'a, u32>,
}

impl<'a> Codes<'a> {
    /// Views `packed` as `rows` rows of `parts` nibbles (see [`pack`]).
    ///
    /// # Panics
    /// When `parts` is zero or `packed` is shorter than [`packed_len`].
    #[must_use]
    pub fn new(packed: &'a [u8], parts: usize, rows: usize) -> Self {
        assert!(parts > 0, "codes need at least one part");
        let len = packed_len(rows, parts);
        assert!(packed.len() >= len, "{rows} rows of {parts} parts take {len} bytes, not {}", packed.len());
        Self { packed: &packed[..len], parts, live: Live::all(rows) }
    }

    /// Only rows whose bit is set: bit `r % 32` of word `r / 32`.
    ///
    /// # Panics
    /// When there are fewer words than blocks.
    #[must_use]
    pub fn only(self, live: &'a [u32]) -> Self {
        Self { live: self.live.only(live), ..self }
    }
}

/// One query of a scan.
#[derive(Debug)]
pub struct Query<'a> {
    /// Its look-up table.
    pub table: &'a Table,
    /// Added to every sum; for inverted lists, the quantized distance to the list's centroid.
    pub bias: u16,
    /// Takes rows whose sum is at most its limit, and lowers the limit as it fills.
    pub found: &'a mut SumReservoir,
}

/// The 32 sums of one query and one block, in the registers of one instruction set.
///
/// # Safety
/// Every method needs the instruction set of the implementing type; callers hold its token.
trait Sums: Copy {
    /// Lines of a chunk after [`Sums::deal`]; one where there is no such step.
    const DEALT: usize = 1;
    /// Arranges each chunk as the registers want it.
    unsafe fn deal(_chunks: &[u8], _dealt: &mut [Line]) {}
    /// The sums of `Q` queries and the block at `block`, which has `lines` chunks, as every table has lines.
    /// The chunks went through [`Sums::deal`] if `D`.
    unsafe fn of<const Q: usize, const D: bool>(
        block: *const u8,
        lines: usize,
        tables: [*const Line; Q],
        biases: [u16; Q],
    ) -> [Self; Q];
    /// Queries whose [`Bounds`] are looked at together; zero where bounds are no faster than sums.
    const BOUNDED: usize = 0;
    /// For each of `Q` queries, whether a row of the block at `block`, whose chunks went through [`Sums::deal`],
    /// has bytes of `tables` that sum to at most the query's cut.
    unsafe fn any_left<const Q: usize>(
        _block: *const u8,
        _lines: usize,
        _tables: [*const Line; Q],
        _cuts: [u8; Q],
    ) -> [bool; Q] {
        [true; Q]
    }
    /// Bit `r` says whether row `r` has a sum of at most `limit`.
    unsafe fn within(self, limit: u16) -> u32;
    /// The sums in row order.
    unsafe fn store(self) -> [u16; BLOCK];
}

/// The definition.
impl Sums for [u16; BLOCK] {
    #[inline(always)]
    unsafe fn of<const Q: usize, const D: bool>(
        block: *const u8,
        lines: usize,
        tables: [*const Line; Q],
        biases: [u16; Q],
    ) -> [Self; Q] {
        let mut sums = [[0; BLOCK]; Q];
        // SAFETY: the caller lets us read `lines` chunks and lines; both hold plain bytes.
        let block = unsafe { std::slice::from_raw_parts(block, lines * 64) };
        for q in 0..Q {
            // SAFETY: as above.
            let table = unsafe { std::slice::from_raw_parts(tables[q], lines) };
            for (row, sum) in sums[q].iter_mut().enumerate() {
                *sum = biases[q];
                for part in 0..TOGETHER * lines {
                    let entry = part % TOGETHER * ENTRIES + usize::from(nibble(block, row, part));
                    *sum += u16::from(table[part / TOGETHER].0[entry]);
                }
            }
        }
        sums
    }

    #[inline(always)]
    unsafe fn within(self, limit: u16) -> u32 {
        (0..BLOCK).fold(0, |mask, row| mask | (u32::from(self[row] <= limit) << row))
    }

    #[inline(always)]
    unsafe fn store(self) -> [u16; BLOCK] {
        self
    }
}

/// The sums of every row of `packed` (whole blocks) for one query.
///
/// # Safety
/// The instruction set of `S` must be present.
#[inline(always)]
unsafe fn sums_all<S: Sums>(packed: &[u8], table: &Table, bias: u16, out: &mut [u16]) {
    let lines = table.lines.len();
    for (block, out) in packed.chunks_exact(lines * 64).zip(out.chunks_mut(BLOCK)) {
        // SAFETY: the block has `lines` chunks; the token is the caller's.
        let sums =
            unsafe { S::of::<1, false>(block.as_ptr(), lines, [table.lines.as_ptr()], [bias])[0].store() };
        out.copy_from_slice(&sums[..out.len()]);
    }
}

/// The two scans of one instruction set.
macro_rules! instruction_set {
    ($module:ident, $sums:ty, $many:literal $(, $feature:literal)?) => {
        /// # Safety
        /// Every function needs the features it is compiled with.
        mod $module {
            use super::{Codes, Query, Table, sums_all, tiles};

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn scan(codes: &Codes<'_>, first: u32, queries: &mut [Query<'_>]) {
                // SAFETY: the instruction set is present here.
                unsafe { tiles::scan_all::<$sums, $many>(codes, first, queries) }
            }

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn sums(packed: &[u8], table: &Table, bias: u16, out: &mut [u16]) {
                // SAFETY: the instruction set is present here.
                unsafe { sums_all::<$sums>(packed, table, bias, out) }
            }
        }
    };
}

instruction_set!(scalar, [u16; super::BLOCK], 1);
#[cfg(target_arch = "x86_64")]
instruction_set!(avx2, super::x86::Sums256, 2, "avx2");
#[cfg(target_arch = "x86_64")]
instruction_set!(
    avx512,
    super::x86::Sums512,
    4,
    "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,avx2,popcnt"
);
#[cfg(target_arch = "aarch64")]
instruction_set!(neon, super::aarch64::Sums128, 4, "neon");

/// Calls the function of the instruction set that `$isa` proves.
macro_rules! on {
    ($isa:expr, $function:ident($($argument:expr),*)) => {
        match $isa {
            // SAFETY: plain Rust needs no instruction set.
            Isa::Scalar => unsafe { scalar::$function($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves AVX-512F, BW, VL, VBMI and VNNI.
            Isa::Avx512(token) if token.extensions().vbmi && token.extensions().vnni => unsafe {
                avx512::$function($($argument),*)
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: both tokens prove AVX2.
            Isa::Avx2(_) | Isa::Avx512(_) => unsafe { avx2::$function($($argument),*) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: the token proves NEON.
            Isa::Neon(_) => unsafe { neon::$function($($argument),*) },
        }
    };
}

impl Isa {
    /// Offers every row of `codes` to every query; rows are numbered from `first`. All sums are exact, so
    /// the reservoirs end up the same on every instruction set.
    ///
    /// # Panics
    /// When a table has another number of parts than the codes, a bias exceeds [`Table::room`], or row
    /// numbers pass `u32`.
    pub fn fast_scan(self, codes: &Codes<'_>, first: u32, queries: &mut [Query<'_>]) {
        let last = (first as usize).checked_add(codes.live.rows());
        assert!(last.is_some_and(|last| last <= u32::MAX as usize), "row numbers fit in 32 bits");
        for query in &*queries {
            assert_eq!(query.table.parts, codes.parts, "parts of the table and of the codes");
            let room = query.table.room();
            assert!(query.bias <= room, "a bias of {} leaves the 16 bits; {room} is left", query.bias);
        }
        on!(self, scan(codes, first, queries));
    }

    /// The sums of the first `out.len()` rows of `packed` for one query.
    ///
    /// # Panics
    /// When `packed` has fewer rows or `bias` exceeds [`Table::room`].
    pub fn fast_scan_sums(self, packed: &[u8], table: &Table, bias: u16, out: &mut [u16]) {
        assert!(bias <= table.room(), "a bias of {bias} leaves the 16 bits; {} is left", table.room());
        let len = packed_len(out.len(), table.parts);
        on!(self, sums(&packed[..len], table, bias, out));
    }
}
