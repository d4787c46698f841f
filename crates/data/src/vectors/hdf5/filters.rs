//! What was done to a chunk before it was stored, and how to undo it.

use super::super::VectorFileError;
use super::super::source::{Fields, Source};
use flate2::read::ZlibDecoder;
use std::io::Read;

/// Most filters of a data set, as HDF5 itself has it; each takes a pass over every chunk.
const MAX_FILTERS: u8 = 32;

/// One step of packing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Deflate,
    /// Bytes of equal rank in their value lie together; bytes a value.
    Shuffle(usize),
    /// A checksum of 4 bytes follows.
    Fletcher32,
}

/// The filter message of data set `name`, in the order of packing.
pub(super) fn parse(source: &Source, body: &[u8], name: &str) -> Result<Vec<Filter>, VectorFileError> {
    let list = numbers(body).ok_or_else(|| source.damaged(format!("the filters of {name} are damaged")))?;
    list.into_iter()
        .map(|(id, first)| match id {
            1 => Ok(Filter::Deflate),
            2 => Ok(Filter::Shuffle(first.unwrap_or(1) as usize)),
            3 => Ok(Filter::Fletcher32),
            _ => {
                let known = match id {
                    4 => " (szip)",
                    32_000 => " (lzf)",
                    32_001 => " (blosc)",
                    32_015 => " (zstd)",
                    _ => "",
                };
                Err(source.unsupported(format!(
                    "{name} is packed with filter {id}{known}; repack it: h5repack -f GZIP=4 OLD NEW"
                )))
            }
        })
        .collect()
}

/// Each filter's number and its first parameter.
fn numbers(body: &[u8]) -> Option<Vec<(u16, Option<u32>)>> {
    let mut fields = Fields(body);
    let (version, count) = (fields.u8()?, fields.u8()?);
    if count > MAX_FILTERS {
        return None;
    }
    match version {
        1 => fields.bytes(6)?,
        2 => fields.bytes(0)?,
        _ => return None,
    };
    let mut list = Vec::new();
    for _ in 0..count {
        let id = fields.u16()?;
        let name = if version == 1 || id >= 256 { fields.u16()? } else { 0 };
        let _flags = fields.u16()?;
        let values = fields.u16()?;
        fields.bytes(if version == 1 { usize::from(name).next_multiple_of(8) } else { name.into() })?;
        let mut first = None;
        for number in 0..values {
            let value = fields.u32()?;
            first = if number == 0 { Some(value) } else { first };
        }
        if version == 1 && values % 2 == 1 {
            fields.bytes(4)?;
        }
        list.push((id, first));
    }
    Some(list)
}

/// Undoes `filters`, those in `skipped` (a bit each) apart, and gives the `size` bytes of the chunk.
pub(super) fn undo(
    filters: &[Filter],
    skipped: u32,
    stored: Vec<u8>,
    size: usize,
) -> Result<Vec<u8>, String> {
    let mut bytes = stored;
    for (number, filter) in filters.iter().enumerate().rev() {
        if skipped & 1u32.checked_shl(number as u32).unwrap_or(0) != 0 {
            continue;
        }
        bytes = match *filter {
            Filter::Deflate => inflate(&bytes, size + 4 * filters.len())?,
            Filter::Shuffle(width) => unshuffle(&bytes, width),
            Filter::Fletcher32 => checked(bytes)?,
        };
    }
    if bytes.len() == size {
        Ok(bytes)
    } else {
        Err(format!("it unpacks to {} bytes instead of {size}", bytes.len()))
    }
}

/// Unpacks at most `most` bytes.
fn inflate(bytes: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(most.min(bytes.len().saturating_mul(1032)));
    let read = ZlibDecoder::new(bytes).take(most as u64 + 1).read_to_end(&mut out);
    read.map_err(|error| format!("it does not unpack: {error}"))?;
    if out.len() > most { Err(format!("it unpacks to more than {most} bytes")) } else { Ok(out) }
}

fn unshuffle(bytes: &[u8], width: usize) -> Vec<u8> {
    let count = bytes.len().checked_div(width).unwrap_or(0);
    if width < 2 || count < 2 {
        return bytes.to_vec();
    }
    let mut out = vec![0; bytes.len()];
    for (rank, plane) in bytes[..count * width].chunks_exact(count).enumerate() {
        for (at, &byte) in plane.iter().enumerate() {
            out[at * width + rank] = byte;
        }
    }
    // What is no whole value stays behind the others.
    out[count * width..].copy_from_slice(&bytes[count * width..]);
    out
}

/// Compares and removes the checksum at the end.
fn checked(mut bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let at = bytes.len().checked_sub(4).ok_or("its checksum is missing")?;
    let stored = u32::from_le_bytes(bytes[at..].try_into().expect("four bytes"));
    bytes.truncate(at);
    if fletcher32(&bytes) == stored { Ok(bytes) } else { Err("its checksum is wrong".to_owned()) }
}

/// Fletcher's checksum over big-endian words of 16 bits, an odd byte as the high half of a last word.
fn fletcher32(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (0u32, 0u32);
    for word in bytes.chunks(2) {
        let word = u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0));
        low = (low + word) % 65_535;
        high = (high + low) % 65_535;
    }
    high << 16 | low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffled_values_come_back_together() {
        // Two values of 3 bytes: planes 1 4, 2 5, 3 6; byte 7 is left over.
        assert_eq!(unshuffle(&[1, 4, 2, 5, 3, 6, 7], 3), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(unshuffle(&[1, 2], 0), [1, 2]);
    }

    #[test]
    fn a_checksum_by_hand() {
        // Words 0x0102 and 0x0300: low 258, 1026; high 258, 1284.
        assert_eq!(fletcher32(&[1, 2, 3]), 1284 << 16 | 1026);
        assert!(checked(vec![1, 2, 3, 0, 0, 0, 0]).is_err());
        assert!(checked(vec![1]).is_err());
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let mut bomb = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut bomb, &vec![0; 1 << 20]).unwrap();
        let bomb = bomb.finish().unwrap();
        assert!(undo(&[Filter::Deflate], 0, bomb, 100).unwrap_err().contains("more than"));
    }
}
