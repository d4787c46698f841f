#![no_main]

use data::vectors::Format;
use libfuzzer_sys::fuzz_target;

// The Parquet crates' own panics are caught; only ours shall end the run.
fuzz_target!(init: data::vectors::hush_caught_panics(), |bytes: &[u8]| deepembed_fuzz::read(Format::Parquet, bytes));
