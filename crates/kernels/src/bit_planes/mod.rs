//! Products of codes of few bits a dimension, as RaBitQ makes them.
//!
//! One bit a dimension: the query is quantized to `B` bits a dimension and cut into `B` bit planes, plane
//! `j` holding bit `j` of every dimension; the product of a row of bits `x` is
//! `sum_j 2^j popcount(x & plane_j)`, an exact integer.
//!
//! Two to eight bits a dimension: rows are unpacked and multiplied with an `f32` query. Dimensions go in
//! groups of 64 (the last one filled up with zeros), `8 bits` bytes each. A group is a sequence of layers, one
//! for each power of two in `bits`, the largest first: 8, 4, 2 or 1 bits of every dimension. Byte `i` of a
//! layer of 2 or 4 bits, `w` say, holds dimensions `i, i + 8 w, i + 16 w, ..`, the first in its lowest bits,
//! so that a layer comes apart by shifts of whole registers. A layer of one bit has dimension `d` in bit `d % 8`
//! of byte `d / 8`, as planes have, so that it can be a mask. A value is its layers put together, the first
//! on top.
//! Sources: Gao and Long, SIGMOD 2024 (RaBitQ); Gao et al., SIGMOD 2025 (more bits).

#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::Isa;

/// Dimensions of a group of [`pack`].
const GROUP: usize = 64;

/// A query cut into bit planes.
#[derive(Clone, Debug)]
pub struct Planes {
    /// `bits x words`.
    planes: Vec<u64>,
    words: usize,
}

impl Planes {
    /// Cuts the values of a query, below `2^bits` each, into planes; dimension `d` becomes bit `d % 8` of
    /// byte `d / 8`, as in the rows.
    ///
    /// # Panics
    /// When there are no values, `bits` is not in `1..=8` or a value is too large for it.
    #[must_use]
    pub fn new(values: &[u8], bits: u32) -> Self {
        assert!((1..=8).contains(&bits), "{bits} bits a dimension");
        assert!(!values.is_empty(), "a query has at least one dimension");
        let words = values.len().div_ceil(64);
        let mut planes = vec![0; bits as usize * words];
        for (d, &value) in values.iter().enumerate() {
            assert!(u32::from(value) >> bits == 0, "dimension {d} has {value}, too large for {bits} bits");
            for j in 0..bits as usize {
                planes[j * words + d / 64] |= u64::from(value >> j & 1) << (d % 64);
            }
        }
        Self { planes, words }
    }

    /// Bytes of a row: whole words of 64 dimensions, the missing ones zero.
    #[must_use]
    pub fn row_len(&self) -> usize {
        8 * self.words
    }
}

/// Bytes of a row of `dim` codes of `bits` bits.
#[must_use]
pub fn packed_len(dim: usize, bits: u32) -> usize {
    dim.div_ceil(GROUP) * 8 * bits as usize
}

/// The widths of the layers.
fn layers(bits: u32) -> impl Iterator<Item = u32> {
    [8, 4, 2, 1].into_iter().filter(move |layer| bits & layer != 0)
}

/// Packs the codes of one row, below `2^bits` each, into `packed`.
///
/// # Panics
/// When `bits` is not in `1..=8`, `packed` is not [`packed_len`] bytes, or a code is too large.
pub fn pack(codes: &[u8], bits: u32, packed: &mut [u8]) {
    assert!((1..=8).contains(&bits), "{bits} bits a dimension");
    assert_eq!(packed.len(), packed_len(codes.len(), bits), "bytes of a packed row");
    packed.fill(0);
    for (codes, packed) in codes.chunks(GROUP).zip(packed.chunks_exact_mut(8 * bits as usize)) {
        let (mut above, mut at) = (bits, 0);
        for layer in layers(bits) {
            above -= layer;
            let wide = 8 * layer as usize;
            for (d, &code) in codes.iter().enumerate() {
                assert!(u32::from(code) >> bits == 0, "a code of {code} is too large for {bits} bits");
                let value = u32::from(code) >> above & ((1 << layer) - 1);
                let (byte, shift) =
                    if layer == 1 { (d / 8, d % 8) } else { (d % wide, d / wide * layer as usize) };
                packed[at + byte] |= (value << shift) as u8;
            }
            at += wide;
        }
    }
}

/// Unpacks the codes of one row.
///
/// # Panics
/// When `bits` is not in `1..=8` or `packed` is not [`packed_len`] bytes.
pub fn unpack(packed: &[u8], bits: u32, codes: &mut [u8]) {
    assert!((1..=8).contains(&bits), "{bits} bits a dimension");
    assert_eq!(packed.len(), packed_len(codes.len(), bits), "bytes of a packed row");
    for (codes, packed) in codes.chunks_mut(GROUP).zip(packed.chunks_exact(8 * bits as usize)) {
        codes.copy_from_slice(&unpack_group(packed, bits)[..codes.len()]);
    }
}

/// The 64 codes of a group.
#[inline(always)]
fn unpack_group(packed: &[u8], bits: u32) -> [u8; GROUP] {
    let mut codes = [0; GROUP];
    let mut packed = packed;
    for layer in [8, 4, 2, 1] {
        if bits & layer != 0 {
            let (here, after) = packed.split_at(8 * layer as usize);
            packed = after;
            // Constant widths let the compiler unroll each layer into shifts and masks of registers.
            match layer {
                8 => codes.copy_from_slice(here),
                4 => add_layer::<4, 32>(here, &mut codes),
                2 => add_layer::<2, 16>(here, &mut codes),
                _ => add_bits(here, &mut codes),
            }
        }
    }
    codes
}

/// Puts a layer of `W` bits, `B` bytes, below the codes.
#[inline(always)]
fn add_layer<const W: u32, const B: usize>(layer: &[u8], codes: &mut [u8; GROUP]) {
    let Ok(layer): Result<[u8; B], _> = layer.try_into() else { return };
    for (i, codes) in codes.chunks_exact_mut(B).enumerate() {
        for (code, byte) in codes.iter_mut().zip(layer) {
            *code = (*code << W) | ((byte >> (i as u32 * W)) & ((1 << W) - 1));
        }
    }
}

/// Puts a layer of one bit below the codes.
#[inline(always)]
fn add_bits(layer: &[u8], codes: &mut [u8; GROUP]) {
    for (codes, &byte) in codes.chunks_exact_mut(8).zip(layer) {
        for (i, code) in codes.iter_mut().enumerate() {
            *code = (*code << 1) | (byte >> i & 1);
        }
    }
}

/// The inner product of the query and the unpacked codes, in the order of [`Isa::dot`].
#[inline(always)]
fn dot_packed(query: &[f32], row: &[u8], bits: u32) -> f32 {
    let mut sums = [0f32; 32];
    for (query, packed) in query.chunks(GROUP).zip(row.chunks_exact(8 * bits as usize)) {
        let codes = unpack_group(packed, bits);
        if let Ok(query) = <&[f32; GROUP]>::try_from(query) {
            for half in 0..2 {
                for j in 0..32 {
                    sums[j] = query[32 * half + j].mul_add(f32::from(codes[32 * half + j]), sums[j]);
                }
            }
        } else {
            for (d, &value) in query.iter().enumerate() {
                sums[d % 32] = value.mul_add(f32::from(codes[d]), sums[d % 32]);
            }
        }
    }
    for half in [16, 8, 4, 2, 1] {
        for j in 0..half {
            sums[j] += sums[j + half];
        }
    }
    sums[0]
}

/// The products of the planes with each row.
#[inline(always)]
fn products(planes: &Planes, rows: &[u8], out: &mut [u32]) {
    for (row, out) in rows.chunks_exact(planes.row_len()).zip(out) {
        *out = product(planes, row);
    }
}

#[inline(always)]
fn product(planes: &Planes, row: &[u8]) -> u32 {
    let (row, _) = row.as_chunks::<8>();
    let plane = |plane: &[u64]| -> u32 {
        plane.iter().zip(row).map(|(plane, &word)| (plane & u64::from_le_bytes(word)).count_ones()).sum()
    };
    planes.planes.chunks_exact(planes.words).enumerate().map(|(j, words)| plane(words) << j).sum()
}

/// The functions of one instruction set; `$products` are those of many rows, `$dot` that of packed codes.
macro_rules! instruction_set {
    ($module:ident, $products:path, $dot:path $(, $feature:literal)?) => {
        /// # Safety
        /// Every function needs the features it is compiled with.
        mod $module {
            use super::Planes;

            $(#[target_feature(enable = $feature)])?
            #[allow(unused_unsafe, reason = "not every instruction set has a function of its own")]
            pub(super) unsafe fn products(planes: &Planes, rows: &[u8], out: &mut [u32]) {
                // SAFETY: the instruction set is present here; whole rows were checked by the caller.
                unsafe { $products(planes, rows, out) };
            }

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn product(planes: &Planes, row: &[u8]) -> u32 {
                super::product(planes, row)
            }

            $(#[target_feature(enable = $feature)])?
            #[allow(unused_unsafe, reason = "not every instruction set has a function of its own")]
            pub(super) unsafe fn dot_packed(query: &[f32], row: &[u8], bits: u32) -> f32 {
                // SAFETY: the instruction set is present here; the length was checked by the caller. A
                // constant number of bits makes straight code of each.
                unsafe {
                    match bits {
                        1 => $dot(query, row, 1),
                        2 => $dot(query, row, 2),
                        3 => $dot(query, row, 3),
                        4 => $dot(query, row, 4),
                        5 => $dot(query, row, 5),
                        6 => $dot(query, row, 6),
                        7 => $dot(query, row, 7),
                        _ => $dot(query, row, 8),
                    }
                }
            }
        }
    };
}

instruction_set!(scalar, super::products, super::dot_packed);
#[cfg(target_arch = "x86_64")]
instruction_set!(avx2, super::products, super::x86::dot_packed_256, "avx2,fma,popcnt");
#[cfg(target_arch = "x86_64")]
instruction_set!(
    avx512,
    super::x86::products,
    super::x86::dot_packed_512,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx2,fma,popcnt"
);

/// Calls the function of the instruction set that `$isa` proves.
macro_rules! on {
    ($isa:expr, $function:ident($($argument:expr),*)) => {
        match $isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves AVX-512F, BW, DQ, VL and VPOPCNTDQ, and what AVX2's proves.
            Isa::Avx512(token) if token.extensions().popcnt => unsafe { avx512::$function($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: both tokens prove AVX2, FMA and POPCNT.
            Isa::Avx2(_) | Isa::Avx512(_) => unsafe { avx2::$function($($argument),*) },
            // SAFETY: plain Rust needs no instruction set; every aarch64 is compiled with NEON.
            _ => unsafe { scalar::$function($($argument),*) },
        }
    };
}

impl Isa {
    /// `sum_j 2^j popcount(row & plane_j)`.
    ///
    /// # Panics
    /// When the row is not [`Planes::row_len`] bytes.
    #[must_use]
    pub fn bit_product(self, planes: &Planes, row: &[u8]) -> u32 {
        assert_eq!(row.len(), planes.row_len(), "bytes of a row");
        on!(self, product(planes, row))
    }

    /// [`Isa::bit_product`] of each of `rows` (row-major, `out.len() x row_len` bytes).
    ///
    /// # Panics
    /// When the sizes disagree.
    pub fn bit_products(self, planes: &Planes, rows: &[u8], out: &mut [u32]) {
        assert_eq!(rows.len(), out.len() * planes.row_len(), "one product a row");
        on!(self, products(planes, rows, out));
    }

    /// Inner product of `query` and a row of codes of `bits` bits (see [`pack`]), to the bit that of
    /// [`Isa::dot`] with the codes as floats.
    ///
    /// # Panics
    /// When `bits` is not in `1..=8` or the row is not [`packed_len`] bytes.
    #[must_use]
    pub fn dot_packed(self, query: &[f32], row: &[u8], bits: u32) -> f32 {
        assert!((1..=8).contains(&bits), "{bits} bits a dimension");
        assert_eq!(row.len(), packed_len(query.len(), bits), "bytes of a packed row");
        on!(self, dot_packed(query, row, bits))
    }
}
