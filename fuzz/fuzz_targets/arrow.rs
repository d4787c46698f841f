#![no_main]

use data::vectors::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| deepembed_fuzz::read(Format::Arrow, bytes));
