#![no_main]

use data::vectors::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for format in [Format::Fvecs, Format::Ivecs, Format::Bvecs] {
        deepembed_fuzz::read(format, bytes);
    }
});
