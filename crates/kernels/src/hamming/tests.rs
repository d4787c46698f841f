use super::*;
use crate::SplitMix64;
use proptest::prelude::*;

fn bytes(n: usize, seed: u64) -> Vec<u8> {
    let mut random = SplitMix64::new(seed);
    (0..n).map(|_| random.bits() as u8).collect()
}

fn plain(a: &[u8], b: &[u8]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

/// Lengths that have kernels of their own, among others.
fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![Just(8), Just(16), Just(32), Just(64), Just(128), 1usize..80]
}

proptest! {
    #[test]
    fn every_shape_gives_the_plain_count(
        bytes_each in lengths(), rows in 0usize..150, picks in prop::collection::vec(any::<u32>(), 0..30),
        limit in 0u32..400, seed in any::<u64>(),
    ) {
        let query = bytes(bytes_each, seed);
        let codes = bytes(rows * bytes_each, seed ^ 1);
        let want: Vec<u32> = codes.chunks_exact(bytes_each).map(|row| plain(&query, row)).collect();
        let ids: Vec<u32> = picks.iter().filter(|_| rows > 0).map(|&pick| pick % rows as u32).collect();
        for isa in Isa::present() {
            let (mut got, mut at, mut near) = (vec![0; rows], vec![0; ids.len()], vec![77]);
            isa.hammings(&query, &codes, &mut got);
            isa.hammings_at(&query, &codes, &ids, &mut at);
            isa.hamming_gate(&query, &codes, limit, 5, &mut near);
            prop_assert_eq!(&got, &want, "{}", isa.name());
            prop_assert!(ids.iter().zip(&at).all(|(&id, &distance)| distance == want[id as usize]));
            prop_assert!(codes.chunks_exact(bytes_each).zip(&want).all(|(row, &d)| isa.hamming(&query, row) == d));
            let within: Vec<u32> = (5..).zip(&want).filter(|pair| *pair.1 <= limit).map(|pair| pair.0).collect();
            prop_assert_eq!(&near[1..], &within[..], "{}", isa.name());
        }
    }

    #[test]
    fn every_level_keeps_what_a_sort_would(
        bytes_each in lengths(), rows in 0usize..6000, queries in 0usize..7, k in 0usize..120,
        live in prop::collection::vec(any::<u32>(), 188), filter in any::<bool>(), seed in any::<u64>(),
    ) {
        let codes = bytes(rows * bytes_each, seed);
        let asked = bytes(queries * bytes_each, seed ^ 1);
        for isa in Isa::present() {
            let mut found = vec![CountingTopK::new(k, 8 * bytes_each as u32); queries];
            // In two calls, the later rows first: ties must still go to the lower row.
            let half = rows / 64 * 32;
            for range in [half..rows, 0..half] {
                let mut scans: Vec<_> = asked.chunks_exact(bytes_each).zip(&mut found)
                    .map(|(code, found)| Query { code, found }).collect();
                let first = range.start as u32;
                let live = filter.then(|| &live[range.start / 32..]);
                isa.hamming_scan(&codes[range.start * bytes_each..range.end * bytes_each], bytes_each, first, live, &mut scans);
            }
            for (query, found) in asked.chunks_exact(bytes_each).zip(found) {
                let mut want: Vec<(u32, u32)> = codes.chunks_exact(bytes_each).map(|row| plain(query, row)).zip(0u32..)
                    .filter(|(_, row)| !filter || live[*row as usize / 32] >> (row % 32) & 1 == 1).collect();
                want.sort_unstable();
                want.truncate(k);
                prop_assert_eq!(found.into_sorted(), want, "{}", isa.name());
            }
        }
    }
}

#[test]
fn a_row_by_hand() {
    // 0b1011 ^ 0b0001 = 0b1010: two bits; 0xff ^ 0x0f: four.
    for isa in Isa::present() {
        assert_eq!(isa.hamming(&[0b1011, 0xff], &[0b0001, 0x0f]), 6);
    }
}

#[test]
#[should_panic(expected = "codes of different lengths")]
fn lengths_must_agree() {
    let _ = Isa::Scalar.hamming(&[1], &[1, 2]);
}

#[test]
#[should_panic(expected = "out of range")]
fn a_row_must_exist() {
    Isa::Scalar.hammings_at(&[1, 2], &[0; 4], &[2], &mut [0]);
}
