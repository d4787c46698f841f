#![no_main]

use data::vectors::{GroundTruth, RangeTruth};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(truth) = GroundTruth::from_bytes("fuzz", bytes.to_vec()) {
        for query in 0..truth.len() {
            assert_eq!(truth.ids(query).len(), truth.k());
        }
    }
    if let Ok(truth) = RangeTruth::from_bytes("fuzz", bytes.to_vec()) {
        for query in 0..truth.len() {
            let (ids, distances) = truth.of(query);
            assert_eq!(ids.len(), distances.len());
        }
    }
});
