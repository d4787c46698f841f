#![no_main]

use data::vectors::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for format in [Format::Fbin, Format::U8bin, Format::I8bin, Format::Ibin] {
        deepembed_fuzz::read(format, bytes);
    }
});
