//! What targets do with their bytes: `read` with files of vectors, [`seal`] with indexes.

pub mod seal;

use data::vectors::{Format, Select, VectorFile};

/// Most bytes of rows that are read together.
const ALL: usize = 64 << 20;

/// Opens `bytes` as a file of `format` and reads from it in every way there is.
pub fn read(format: Format, bytes: &[u8]) {
    let select = Select { format: Some(format), part: None };
    let Ok(file) = VectorFile::from_bytes("fuzz", bytes.to_vec(), &select) else { return };
    let some = file.len().min(64);
    let stored = file.read_bytes(0..some);
    if let Ok(stored) = &stored {
        assert_eq!(stored.len(), some * file.row_bytes());
    }
    if let Ok(values) = file.read(0..some) {
        assert!(values.iter().all(|value| value.is_finite()));
        if let Some(lent) = file.borrowed(0..some) {
            assert_eq!(lent, values);
        }
    }
    // All of them, unless a small file may hold that much for once.
    if file.len().saturating_mul(file.row_bytes()) <= ALL {
        let _ = file.read_bytes(0..file.len());
    }
    let _ = file.read_ids(0..some);
    // Backwards, so that nothing remembered from the last read is of use.
    for row in (0..some).rev().step_by(17) {
        let again = file.read_bytes(row..row + 1);
        if let (Ok(stored), Ok(again)) = (&stored, again) {
            assert_eq!(again, stored[row * file.row_bytes()..][..file.row_bytes()]);
        }
    }
}
