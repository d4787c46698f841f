use super::*;
use crate::SplitMix64;
use proptest::prelude::*;

fn bytes(n: usize, below: u64, seed: u64) -> Vec<u8> {
    let mut random = SplitMix64::new(seed);
    (0..n).map(|_| (random.bits() % below) as u8).collect()
}

proptest! {
    #[test]
    fn planes_give_the_plain_product(
        dim in 1usize..1100, bits in 1u32..=8, rows in 0usize..20, seed in any::<u64>(),
    ) {
        let values = bytes(dim, 1 << bits, seed);
        let planes = Planes::new(&values, bits);
        let len = planes.row_len();
        // Bits past the dimensions are set, too: the query has zeros there.
        let codes = bytes(rows * len, 256, seed ^ 1);
        let plain = |row: &[u8]| -> u32 {
            values.iter().enumerate().map(|(d, &v)| u32::from(v) * u32::from(row[d / 8] >> (d % 8) & 1)).sum()
        };
        let want: Vec<u32> = codes.chunks_exact(len).map(plain).collect();
        for isa in Isa::present() {
            let mut got = vec![0; rows];
            isa.bit_products(&planes, &codes, &mut got);
            prop_assert_eq!(&got, &want, "{}", isa.name());
            prop_assert!(codes.chunks_exact(len).zip(&want).all(|(row, &sum)| isa.bit_product(&planes, row) == sum));
        }
    }

    #[test]
    fn packed_codes_give_the_bits_of_their_floats(dim in 0usize..300, bits in 1u32..=8, seed in any::<u64>()) {
        let codes = bytes(dim, 1 << bits, seed);
        let mut random = SplitMix64::new(seed ^ 1);
        let query: Vec<f32> = (0..dim).map(|_| (random.unit() - 0.5) as f32).collect();
        let mut packed = vec![0xaa; packed_len(dim, bits)];
        pack(&codes, bits, &mut packed);
        let mut back = vec![0; dim];
        unpack(&packed, bits, &mut back);
        prop_assert_eq!(&back, &codes);
        let floats: Vec<f32> = codes.iter().map(|&code| f32::from(code)).collect();
        let want = Isa::Scalar.dot(&query, &floats);
        for isa in Isa::present() {
            prop_assert_eq!(isa.dot_packed(&query, &packed, bits).to_bits(), want.to_bits(), "{}", isa.name());
        }
    }
}

#[test]
fn a_product_by_hand() {
    // Values 3, 1, 2 meet bits 1, 0, 1: 3 + 2.
    let planes = Planes::new(&[3, 1, 2], 2);
    assert_eq!(Isa::current().bit_product(&planes, &[0b101, 0, 0, 0, 0, 0, 0, 0]), 5);
}

#[test]
fn a_layer_by_hand() {
    // Three bits: the upper two of dimension 0 and 16 lie in byte 0, the lowest bits in the layer after it.
    let mut codes = [0; 17];
    (codes[0], codes[16]) = (0b101, 0b110);
    let mut packed = [0; 24];
    pack(&codes, 3, &mut packed);
    assert_eq!(packed[0], 0b1110);
    assert_eq!(packed[16], 0b1); // dimension 16 has a zero there
}

#[test]
#[should_panic(expected = "dimension 1 has 4, too large for 2 bits")]
fn values_must_fit() {
    let _ = Planes::new(&[3, 4], 2);
}
