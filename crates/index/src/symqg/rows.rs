//! A node is one row: its vector, then blocks of 32 neighbours.
//!
//! | bytes                  | holds                                                          |
//! |------------------------|----------------------------------------------------------------|
//! | vector                 | `u8` or `f32` values, padded with zeros to whole cache lines   |
//! | then, each 32 neighbours: `p * 4` | the signs of their residuals (`kernels::sign_scan`) |
//! | 64, 64                 | `a` and `b` of each, `bf16`                                    |
//! | 128                    | their ids, `u32`                                               |
//!
//! Let `p` be a node and `v` a neighbour, both less the mean and rotated; `r = v - p`, `s` its signs and
//! `f = |r|^2 / <s, r>`, so that `f <s, x>` estimates `<r, x>` without bias. For a query `q` the squared distance
//! to `v` is `|q - p|^2 + |r|^2 - 2 <r, q - p>`, estimated by `|q - p|^2 + a - b <s, q>` with
//! `a = |r|^2 + 2 f <s, p>` and `b = 2 f`. The negated inner product of vectors as they were is
//! `-<q, v> = -<q, p> - <p, v - p> - <q - p, v - p>`: `a = f <s, p> - <p, v - p>`, `b = f`.
//! A slot without a neighbour holds the node itself and an infinite `a`.

use super::rotation::rotated_len;
use crate::array::LINE;
use data::Metric;
use kernels::Isa;
use kernels::sign_scan::{BLOCK, SignBlock, set_signs};
use std::borrow::Cow;

/// Where things lie in a row; rows are arrays of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) dim: usize,
    /// Neighbours, a multiple of [`BLOCK`].
    pub(super) degree: usize,
    /// Vectors are whole numbers of 0 to 255.
    pub(super) bytes: bool,
}

/// Bytes of a word.
const WORD: usize = size_of::<u32>();
/// Words of the numbers of a block, and of its ids.
const NUMBERS: usize = BLOCK * size_of::<u16>() / WORD;
const IDS: usize = BLOCK;

/// A vector as it is compared: with zeros to whole cache lines.
#[derive(Clone, Debug)]
pub(super) enum Vector {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
}

impl Default for Vector {
    fn default() -> Self {
        Self::Bytes(Vec::new())
    }
}

impl Vector {
    /// No bytes, in memory that was there.
    fn bytes(&mut self) -> &mut Vec<u8> {
        if !matches!(self, Self::Bytes(_)) {
            *self = Self::Bytes(Vec::new());
        }
        let Self::Bytes(bytes) = self else { unreachable!("just made") };
        bytes.clear();
        bytes
    }

    /// No floats, in memory that was there.
    fn floats(&mut self) -> &mut Vec<f32> {
        if !matches!(self, Self::Floats(_)) {
            *self = Self::Floats(Vec::new());
        }
        let Self::Floats(floats) = self else { unreachable!("just made") };
        floats.clear();
        floats
    }
}

impl Shape {
    /// Words of the vector.
    pub(super) fn vector(self) -> usize {
        let bytes = if self.bytes { self.dim } else { self.dim * size_of::<f32>() };
        bytes.next_multiple_of(LINE) / WORD
    }

    /// Values of a rotated vector.
    pub(super) fn rotated(self) -> usize {
        rotated_len(self.dim)
    }

    fn signs(self) -> usize {
        self.rotated() * BLOCK / 8 / WORD
    }

    fn block(self) -> usize {
        self.signs() + 2 * NUMBERS + IDS
    }

    /// Words of a row.
    pub(super) fn stride(self) -> usize {
        self.vector() + self.degree / BLOCK * self.block()
    }

    /// The vectors of a row as floats, padded with zeros to whole cache lines.
    pub(super) fn floats<'a>(self, row: &'a [u32]) -> Cow<'a, [f32]> {
        let words = &row[..self.vector()];
        if !self.bytes {
            return Cow::Borrowed(bytemuck::cast_slice(words));
        }
        Cow::Owned(bytemuck::cast_slice::<u32, u8>(words).iter().map(|&v| f32::from(v)).collect())
    }

    /// Makes `query` this vector, in bytes where rows are and it can be.
    pub(super) fn set_query(self, vector: &[f32], query: &mut Vector) {
        // As many values as `floats` gives for a row.
        let padded = if self.bytes { self.vector() * WORD } else { self.vector() };
        if self.bytes && vector.iter().all(|&v| is_byte(v)) {
            let bytes = query.bytes();
            bytes.extend(vector.iter().map(|&v| v as u8));
            bytes.resize(padded, 0);
        } else {
            let floats = query.floats();
            floats.extend_from_slice(vector);
            floats.resize(padded, 0.0);
        }
    }

    /// Makes `query` the vector of a row.
    pub(super) fn set_own(self, row: &[u32], query: &mut Vector) {
        let words = &row[..self.vector()];
        if self.bytes {
            query.bytes().extend_from_slice(bytemuck::cast_slice(words));
        } else {
            query.floats().extend_from_slice(bytemuck::cast_slice(words));
        }
    }

    /// The squared distance of the vectors of two rows.
    #[inline]
    pub(super) fn between(self, isa: Isa, a: &[u32], b: &[u32]) -> f32 {
        let (a, b) = (&a[..self.vector()], &b[..self.vector()]);
        if self.bytes {
            isa.l2_bytes::<u8>(bytemuck::cast_slice(a), bytemuck::cast_slice(b)) as f32
        } else {
            isa.l2(bytemuck::cast_slice(a), bytemuck::cast_slice(b))
        }
    }

    /// Writes the vector of a row.
    pub(super) fn set_vector(self, row: &mut [u32], vector: &[f32]) {
        let words = &mut row[..self.vector()];
        if self.bytes {
            let bytes = bytemuck::cast_slice_mut::<u32, u8>(words);
            bytes.iter_mut().zip(vector).for_each(|(to, &v)| *to = v as u8);
        } else {
            bytemuck::cast_slice_mut::<u32, f32>(words)[..self.dim].copy_from_slice(vector);
        }
    }

    /// The distance of a query to the vector of a row. Of whole numbers it is exact, then rounded once.
    #[inline]
    pub(super) fn distance(self, isa: Isa, metric: Metric, query: &Vector, row: &[u32]) -> f32 {
        let words = &row[..self.vector()];
        match (query, metric) {
            (Vector::Bytes(query), Metric::L2) => {
                isa.l2_bytes(query, bytemuck::cast_slice::<u32, u8>(words)) as f32
            }
            (Vector::Bytes(query), Metric::Dot) => {
                0.0 - isa.dot_bytes(query, bytemuck::cast_slice::<u32, u8>(words)) as f32
            }
            (Vector::Floats(query), Metric::L2) => isa.l2(query, &self.floats(row)),
            (Vector::Floats(query), Metric::Dot) => 0.0 - isa.dot(query, &self.floats(row)),
        }
    }

    /// The words of block `b`, without the vector.
    #[inline]
    fn at(self, b: usize) -> usize {
        self.vector() + b * self.block()
    }

    /// The signs and numbers of block `b` of a row.
    #[inline]
    pub(super) fn signs_of(self, row: &[u32], b: usize) -> SignBlock<'_> {
        let block = &row[self.at(b)..][..self.block()];
        let (signs, rest) = block.split_at(self.signs());
        let (add, rest) = rest.split_at(NUMBERS);
        SignBlock { signs: bytemuck::cast_slice(signs), add: numbers(add), scale: numbers(&rest[..NUMBERS]) }
    }

    /// The ids of block `b` of a row.
    #[inline]
    pub(super) fn ids_of(self, row: &[u32], b: usize) -> &[u32] {
        &row[self.at(b + 1) - IDS..self.at(b + 1)]
    }

    /// Fills a slot that no neighbour takes.
    pub(super) fn set_empty(self, row: &mut [u32], node: u32, slot: usize) {
        self.set_numbers(row, slot, node, f32::INFINITY, 0.0);
    }

    fn set_numbers(self, row: &mut [u32], slot: usize, id: u32, add: f32, scale: f32) {
        let (b, v) = (slot / BLOCK, slot % BLOCK);
        let numbers = self.at(b) + self.signs();
        bytemuck::cast_slice_mut::<u32, u16>(&mut row[numbers..numbers + NUMBERS])[v] = short(add);
        bytemuck::cast_slice_mut::<u32, u16>(&mut row[numbers + NUMBERS..numbers + 2 * NUMBERS])[v] =
            short(scale);
        row[self.at(b + 1) - IDS + v] = id;
    }

    /// Writes a neighbour into a slot: `p` and `v` are the node and the neighbour less the mean and rotated,
    /// `lean` is `<p, v - p>` of the vectors as they were (read for inner products alone).
    pub(super) fn set_neighbour(
        self,
        row: &mut [u32],
        slot: usize,
        id: u32,
        metric: Metric,
        edge: &Edge<'_>,
    ) {
        let Edge { isa, p, v, lean } = *edge;
        let residual: Vec<f32> = v.iter().zip(p).map(|(v, p)| v - p).collect();
        let [norm, sizes, along] = isa.sign_sums(&residual, p);
        let f = if sizes > 0.0 && sizes.is_finite() { norm / sizes } else { 0.0 };
        let (add, scale) = match metric {
            Metric::L2 => (norm + 2.0 * f * along, 2.0 * f),
            Metric::Dot => (f * along - lean, f),
        };
        let from = self.at(slot / BLOCK);
        let signs = bytemuck::cast_slice_mut::<u32, u8>(&mut row[from..from + self.signs()]);
        set_signs(signs, slot % BLOCK, &residual);
        self.set_numbers(row, slot, id, add, scale);
    }
}

impl Shape {
    /// Makes `list` the neighbours of a row; those it has already keep their slots.
    pub(super) fn set_list<'e>(
        self,
        row: &mut [u32],
        node: u32,
        metric: Metric,
        list: impl Iterator<Item = u32>,
        edge: impl Fn(u32) -> Edge<'e>,
    ) {
        let mut ids: Vec<u32> = list.collect();
        let slots: Vec<u32> = (0..self.degree / BLOCK).flat_map(|b| self.ids_of(row, b)).copied().collect();
        let mut free = Vec::with_capacity(self.degree);
        for (slot, &id) in slots.iter().enumerate() {
            match ids.iter().position(|&new| new == id) {
                Some(at) => {
                    ids.swap_remove(at);
                }
                None => free.push(slot),
            }
        }
        ids.sort_unstable();
        let mut free = free.into_iter();
        for (id, slot) in ids.into_iter().zip(free.by_ref()) {
            self.set_neighbour(row, slot, id, metric, &edge(id));
        }
        free.for_each(|slot| self.set_empty(row, node, slot));
    }
}

/// What the numbers of a neighbour are made of.
pub(super) struct Edge<'a> {
    pub(super) isa: Isa,
    pub(super) p: &'a [f32],
    pub(super) v: &'a [f32],
    pub(super) lean: f32,
}

/// Whether a value can be kept in a byte.
pub(super) fn is_byte(value: f32) -> bool {
    // The cast cuts off what does not fit.
    f32::from(value as u8) == value
}

#[inline]
fn numbers(words: &[u32]) -> &[u16; BLOCK] {
    bytemuck::cast_slice::<u32, u16>(words).try_into().expect("a block has 32 numbers")
}

/// The nearest `bf16`, ties to even; not-a-number becomes infinity, so that the slot is never followed.
fn short(value: f32) -> u16 {
    if value.is_nan() {
        return short(f32::INFINITY);
    }
    let bits = value.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}
