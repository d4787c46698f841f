//! Hashes made to match: what a hostile writer of index files would do.

const PAGE: usize = 4096;
/// Where a superblock holds the number of sections, the hash of their table, and where that starts.
const SECTIONS: usize = 80;
const TABLE: usize = 88;
const TABLE_START: usize = 1152;
/// The features, of which the first moves the table.
const REQUIRED: usize = 24;
const ENTRY: usize = 64;

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at.checked_add(8)?)?;
    usize::try_from(u64::from_le_bytes(word.try_into().ok()?)).ok()
}

/// Makes the hashes of sections, tables and superblocks those of the bytes, as far as there are any.
pub fn seal(bytes: &mut [u8]) {
    for page in [0, PAGE] {
        if bytes.get(page..page + 8) == Some(b"DEEPEMB1") && bytes.len() >= 2 * PAGE {
            seal_table(bytes, page);
            let hash = blake3::hash(&bytes[page..page + PAGE - 32]);
            bytes[page + PAGE - 32..page + PAGE].copy_from_slice(hash.as_bytes());
        }
    }
}

fn seal_table(bytes: &mut [u8], page: usize) -> Option<()> {
    let moved = number(bytes, page + REQUIRED)? & 1 == 1;
    let start = if moved { number(bytes, page + TABLE_START)? } else { 2 * PAGE };
    let end = number(bytes, page + SECTIONS)?.checked_mul(ENTRY)?.checked_add(start)?;
    bytes.get(start..end)?;
    for entry in (start..end).step_by(ENTRY) {
        let (at, len) = (number(bytes, entry + 8)?, number(bytes, entry + 16)?);
        if let Some(section) = bytes.get(at..at.saturating_add(len)) {
            let hash = blake3::hash(section);
            bytes[entry + 24..entry + 56].copy_from_slice(hash.as_bytes());
        }
    }
    let hash = blake3::hash(&bytes[start..end]);
    bytes[page + TABLE..page + TABLE + 32].copy_from_slice(hash.as_bytes());
    Some(())
}
