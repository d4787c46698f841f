//! Panics that are caught are not heard, all others are. A test of its own, because a hook is the whole program's.
#![cfg(feature = "arrow")]

use deepembed_data::vectors::{Format, Select, VectorFile, hush_caught_panics};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

static HEARD: AtomicUsize = AtomicUsize::new(0);

/// Reads every file that differs from a golden one in a byte; gives how many made the crates panic.
fn caught() -> usize {
    let mut caught = 0;
    for (name, format) in [("f32.parquet", Format::Parquet), ("list.arrow", Format::Arrow)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/vectors").join(name);
        let mut bytes = fs::read(path).unwrap();
        for at in 0..bytes.len() {
            bytes[at] ^= 0x80;
            let select = Select { format: Some(format), part: None };
            let read = VectorFile::from_bytes(name, bytes.clone(), &select);
            let read = read.and_then(|file| file.read_bytes(0..file.len()));
            caught += usize::from(read.is_err_and(|error| error.to_string().contains("contradicts itself")));
            bytes[at] ^= 0x80;
        }
    }
    caught
}

#[test]
fn only_caught_panics_are_hushed() {
    std::panic::set_hook(Box::new(|_| {
        HEARD.fetch_add(1, Ordering::Relaxed);
    }));
    let loud = caught();
    assert!(loud > 0, "no file made the crates panic: find one that does");
    assert!(HEARD.swap(0, Ordering::Relaxed) >= loud, "a library hushes nothing unasked");
    hush_caught_panics();
    assert_eq!(caught(), loud);
    assert_eq!(HEARD.load(Ordering::Relaxed), 0);
    assert!(std::thread::spawn(|| panic!("heard")).join().is_err());
    assert_eq!(HEARD.load(Ordering::Relaxed), 1);
}
