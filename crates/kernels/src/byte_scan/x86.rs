//! Lower bounds in the registers of AVX-512 VBMI.

use super::{BLOCK, Codes, ENTRIES, GROUP, Query, groups, scan_exactly};
use crate::line::Line;
use crate::{Avx512, Isa};
use std::arch::x86_64::*;
use std::ops::Range;

/// Proof that this CPU has AVX-512F, BW, VL and VBMI, and POPCNT.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vbmi(Avx512);

impl Isa {
    /// The proof that [`Bounds`] needs.
    pub(super) fn vbmi(self) -> Option<Vbmi> {
        match self {
            Self::Avx512(token) if token.extensions().vbmi => Some(Vbmi(token)),
            _ => None,
        }
    }
}

/// The byte table of one query (see the head of the module above for its making).
#[derive(Debug)]
pub(super) struct Bounds {
    level: Vbmi,
    /// The least entries of wide codes by their bytes, `parts x 256`; empty for codes of bytes.
    least_entries: Vec<f32>,
    /// Four lines a part.
    bytes: Vec<Line>,
    /// Smallest distance that any row can have.
    least: f64,
    /// More than a distance can be off by through the rounding of its sums.
    error: f64,
    /// Distance above `least` that the bytes were made for, and bytes for a distance of one.
    reach: f64,
    scale: f32,
    /// Whether a gate looks at rows before the bounds do, as it may leave fewer.
    gate_first: bool,
    /// Whether no other query reads the codes: they then come from memory, not from the cache.
    alone: bool,
}

/// What a limit means for the bytes.
enum Cut {
    /// Rows whose bytes sum to more than this lie beyond the limit.
    Above(u8),
    /// Every row lies beyond the limit.
    All,
    /// The table has values that no byte stands for.
    Unknown,
}

impl Bounds {
    /// The largest byte sum of a wanted row; 255 stands for all that is more.
    const MOST: f64 = 254.0;
    /// Bytes are made anew when the reach has fallen below this share: the bounds get looser meanwhile.
    const STALE: f64 = 0.95;
    /// Rows of a group up to which adding up those that passed a gate costs less than their bounds.
    const FEW: u32 = 32;

    pub(super) fn new(level: Vbmi, codes: &Codes<'_>, query: &Query<'_>, alone: bool) -> Self {
        let parts = query.table.chunks_exact(codes.entries());
        let (mut least, mut largest) = (f64::from(query.bias), f64::from(query.bias).abs());
        for part in parts.clone() {
            least += f64::from(smallest(part));
            largest += f64::from(part.iter().fold(0f32, |most, entry| most.max(entry.abs())));
        }
        // A sum of `n` rounded additions is off by less than n 2^-24 of the sum of the magnitudes.
        let error = (parts.len() + 2) as f64 * largest * 2f64.powi(-23);
        let least_entries = if codes.low > 0 {
            query.table.chunks_exact(1 << codes.low).map(smallest).collect()
        } else {
            Vec::new()
        };
        Self {
            level,
            least_entries,
            bytes: Vec::new(),
            least,
            error,
            reach: f64::INFINITY,
            scale: 0.0,
            gate_first: false,
            alone,
        }
    }

    fn isa(&self) -> Isa {
        Isa::Avx512(self.level.0)
    }

    /// Offers the rows of `blocks` that the bounds cannot rule out.
    pub(super) fn scan(
        &mut self,
        codes: &Codes<'_>,
        blocks: Range<usize>,
        first: u32,
        query: &mut Query<'_>,
    ) {
        let mut at = blocks.start;
        while at < blocks.end && query.found.limit() == f32::INFINITY {
            scan_exactly(self.isa(), codes, at..at + 1, first, query);
            at += 1;
        }
        let cut = if at == blocks.end { Cut::All } else { self.cut(query) };
        let most = match cut {
            Cut::All => return,
            Cut::Unknown => return scan_exactly(self.isa(), codes, at..blocks.end, first, query),
            Cut::Above(most) => most,
        };
        let rows = (blocks.end - at) * BLOCK;
        let mut left = 0;
        for group in groups(at..blocks.end) {
            let mut masks = [u64::MAX; GROUP];
            match query.gate {
                Some(gate) if self.gate_first => {
                    let passed = gate.passed(self.isa(), codes, group.clone(), &mut masks);
                    left += passed as usize;
                    if passed > Self::FEW {
                        self.rule_out(codes, group.clone(), most, &mut masks);
                    }
                }
                Some(gate) => {
                    left += self.rule_out(codes, group.clone(), most, &mut masks) as usize;
                    for (block, mask) in group.clone().zip(&mut masks).filter(|(_, mask)| **mask != 0) {
                        let mut passed = [0];
                        gate.passed(self.isa(), codes, block..block + 1, &mut passed);
                        *mask &= passed[0];
                    }
                }
                None => {
                    self.rule_out(codes, group.clone(), most, &mut masks);
                }
            }
            query.offer(codes, group, first, &masks);
        }
        // What goes first is what leaves few rows to the other.
        let few = if self.gate_first { rows / 128 } else { rows / 8 };
        self.gate_first ^= left > few;
    }

    /// What the query's present limit means, after making the bytes anew where they are stale.
    fn cut(&mut self, query: &Query<'_>) -> Cut {
        let reach = f64::from(query.found.limit()) - self.least + self.error;
        if !reach.is_finite() {
            return Cut::Unknown;
        }
        if reach < 0.0 {
            return Cut::All;
        }
        if self.bytes.is_empty() || reach < Self::STALE * self.reach {
            self.make(query.table, reach);
        }
        Cut::Above((reach * f64::from(self.scale)).min(Self::MOST) as u8)
    }

    fn make(&mut self, table: &[f32], reach: f64) {
        /// More than the two roundings of `f32` can raise a value below 256 by.
        const ROUNDING: f32 = 1e-4;
        self.reach = reach;
        // Rounded down; a finite scale keeps the smallest entries at zero.
        self.scale = ((Self::MOST / reach) as f32).next_down().clamp(0.0, f32::MAX);
        let scale = self.scale;
        let table = if self.least_entries.is_empty() { table } else { &self.least_entries };
        self.bytes.resize(table.len() / 64, Line([0; 64]));
        for (part, lines) in table.chunks_exact(ENTRIES).zip(self.bytes.chunks_exact_mut(4)) {
            let least = smallest(part);
            for (entries, line) in part.chunks_exact(64).zip(lines) {
                for (&entry, byte) in entries.iter().zip(&mut line.0) {
                    *byte = ((entry - least) * scale - ROUNDING).clamp(0.0, 255.0) as i32 as u8;
                }
            }
        }
    }

    /// Clears the bits of rows whose bytes sum to more than `most`, and returns the number of the others.
    fn rule_out(&self, codes: &Codes<'_>, group: Range<usize>, most: u8, masks: &mut [u64; GROUP]) -> u32 {
        let mut within = [0; GROUP];
        let left = if group.len() == GROUP {
            self.within::<GROUP>(codes, group.start, most, &mut within)
        } else {
            let each = group.zip(&mut within);
            each.map(|(block, within)| self.within::<1>(codes, block, most, std::slice::from_mut(within)))
                .sum()
        };
        masks.iter_mut().zip(within).for_each(|(mask, within)| *mask &= within);
        left
    }

    /// For each of `B` blocks from `block`, the rows whose bytes sum to at most `most`; returns their number.
    fn within<const B: usize>(&self, codes: &Codes<'_>, block: usize, most: u8, masks: &mut [u64]) -> u32 {
        let (blocks, stride) = (codes.blocks(block..block + B), codes.stride());
        assert!(self.bytes.len() == 4 * codes.parts && masks.len() == B, "four lines a part");
        let Vbmi(_token) = self.level;
        // SAFETY: the token proves the instruction set; the lengths were checked.
        unsafe {
            if self.alone {
                within::<B, true>(blocks.as_ptr(), stride, codes.parts, self.bytes.as_ptr(), most, masks)
            } else {
                within::<B, false>(blocks.as_ptr(), stride, codes.parts, self.bytes.as_ptr(), most, masks)
            }
        }
    }
}

fn smallest(part: &[f32]) -> f32 {
    part.iter().fold(f32::INFINITY, |least, &entry| least.min(entry))
}

/// See [`Bounds::within`]; asks memory for the next group of blocks if `ALONE`.
///
/// # Safety
/// `blocks` has `B` blocks of `stride` bytes, of which the first are `parts` columns, `bytes` four lines a part; needs AVX-512F, BW, VL and VBMI, and POPCNT.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,popcnt")]
unsafe fn within<const B: usize, const ALONE: bool>(
    blocks: *const u8,
    stride: usize,
    parts: usize,
    bytes: *const Line,
    most: u8,
    masks: &mut [u64],
) -> u32 {
    let mut sums = [_mm512_setzero_si512(); B];
    for part in 0..parts {
        // SAFETY: four lines a part.
        let [t, u, v, w] = unsafe {
            let table = bytes.add(4 * part);
            [
                _mm512_load_si512(table.cast()),
                _mm512_load_si512(table.add(1).cast()),
                _mm512_load_si512(table.add(2).cast()),
                _mm512_load_si512(table.add(3).cast()),
            ]
        };
        for (b, sum) in sums.iter_mut().enumerate() {
            // SAFETY: column `part` of block `b`.
            let codes = unsafe { _mm512_loadu_si512(blocks.add(b * stride + part * BLOCK).cast()) };
            if ALONE {
                let next = blocks.wrapping_add((B + b) * stride + part * BLOCK);
                _mm_prefetch::<_MM_HINT_T0>(next.cast());
            }
            let upper = _mm512_movepi8_mask(codes);
            let found = _mm512_mask_blend_epi8(
                upper,
                _mm512_permutex2var_epi8(t, codes, u),
                _mm512_permutex2var_epi8(v, codes, w),
            );
            *sum = _mm512_adds_epu8(*sum, found);
        }
    }
    let most = _mm512_set1_epi8(most as i8);
    let mut count = 0;
    for b in 0..B {
        masks[b] = _mm512_cmple_epu8_mask(sums[b], most);
        count += masks[b].count_ones();
    }
    count
}
