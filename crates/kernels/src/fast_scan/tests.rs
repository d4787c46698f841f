use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes that need not be random, only different.
fn bytes(n: usize, seed: u64) -> Vec<u8> {
    let mut random = crate::SplitMix64::new(seed);
    (0..n).map(|_| random.bits() as u8).collect()
}

/// The sums by the definition, from row-major codes.
fn plain_sums(codes: &[u8], parts: usize, entries: &[u8], bias: u16) -> Vec<u16> {
    let sum = |code: &[u8]| {
        (0..parts)
            .map(|p| u16::from(entries[16 * p + usize::from((code[p / 2] >> (4 * (p % 2))) & 15)]))
            .sum::<u16>()
    };
    codes.chunks_exact(code_len(parts)).map(|code| bias + sum(code)).collect()
}

/// Row-major codes with the unused nibble of an odd number of parts cleared.
fn codes(rows: usize, parts: usize, seed: u64) -> Vec<u8> {
    let mut codes = bytes(rows * code_len(parts), seed);
    if parts % 2 == 1 {
        codes.chunks_exact_mut(code_len(parts)).for_each(|code| code[parts / 2] &= 15);
    }
    codes
}

proptest! {
    #[test]
    fn packing_loses_nothing(parts in 1usize..70, rows in 0usize..100, seed in any::<u64>()) {
        let codes = codes(rows, parts, seed);
        let packed = pack(&codes, parts);
        prop_assert_eq!(packed.len(), packed_len(rows, parts));
        prop_assert_eq!(unpack(&packed, parts, rows), codes);
    }

    #[test]
    fn every_level_gives_the_plain_sums(
        parts in 1usize..70, rows in 0usize..100, bias in 0u16..40000, seed in any::<u64>(),
    ) {
        let codes = codes(rows, parts, seed);
        let entries = bytes(parts * 16, seed ^ 1);
        let (packed, table) = (pack(&codes, parts), Table::new(&entries));
        let want = plain_sums(&codes, parts, &entries, bias);
        for isa in Isa::present() {
            let mut got = vec![0; rows];
            isa.fast_scan_sums(&packed, &table, bias, &mut got);
            prop_assert_eq!(&got, &want, "{}", isa.name());
        }
    }

    #[test]
    fn every_level_keeps_what_a_sort_would(
        parts in 1usize..20, rows in 0usize..1500, queries in 0usize..8, k in 0usize..200,
        spread in 1u8..=255, live in vec(any::<u32>(), 50), filter in any::<bool>(), seed in any::<u64>(),
    ) {
        // A small spread makes many ties.
        let codes = codes(rows, parts, seed);
        let packed = pack(&codes, parts);
        let tables: Vec<(Vec<u8>, u16)> = (0..queries as u64).map(|q| {
            let entries = bytes(parts * 16, seed ^ q).into_iter().map(|b| b % spread).collect();
            (entries, q as u16 * 1000)
        }).collect();
        let kept = |row: usize| !filter || live[row / 32] >> (row % 32) & 1 == 1;
        for isa in Isa::present() {
            let padded: Vec<Table> = tables.iter().map(|(entries, _)| Table::new(entries)).collect();
            let mut found = vec![SumReservoir::new(k); queries];
            let mut scans: Vec<Query<'_>> = padded.iter().zip(&tables).zip(&mut found)
                .map(|((table, (_, bias)), found)| Query { table, bias: *bias, found }).collect();
            let view = Codes::new(&packed, parts, rows);
            isa.fast_scan(&if filter { view.only(&live) } else { view }, 7, &mut scans);
            for ((entries, bias), found) in tables.iter().zip(found) {
                let mut want: Vec<(u16, u32)> = plain_sums(&codes, parts, entries, *bias).into_iter().enumerate()
                    .filter(|(row, _)| kept(*row)).map(|(row, sum)| (sum, row as u32 + 7)).collect();
                want.sort_unstable();
                want.truncate(k);
                prop_assert_eq!(found.into_sorted(), want, "{}", isa.name());
            }
        }
    }

    #[test]
    fn a_reservoir_takes_rows_in_any_order(sums in vec(0u16..50, 0..900), k in 0usize..60, limit in 0u16..60) {
        let mut pairs: Vec<(u16, u32)> = sums.iter().copied().zip(0..).collect();
        let mut found = SumReservoir::new(k);
        found.lower_limit(limit);
        pairs.iter().rev().for_each(|&(sum, row)| found.push(sum, row));
        pairs.retain(|pair| pair.0 <= limit);
        pairs.sort_unstable();
        pairs.truncate(k);
        prop_assert_eq!(found.into_sorted(), pairs);
    }
}

#[test]
fn sums_reach_the_top_of_sixteen_bits() {
    // 256 parts of 255 and a bias of 255: 65280 + 255 = 65535.
    let table = Table::new(&[255; 256 * 16]);
    assert_eq!(table.room(), 255);
    for isa in Isa::present() {
        let mut sums = [0; 40];
        isa.fast_scan_sums(&vec![0x5a; packed_len(40, 256)], &table, 255, &mut sums);
        assert_eq!(sums, [u16::MAX; 40]);
    }
}

#[test]
fn one_row_by_hand() {
    // Nibbles 3, 0, 2 look up 13, 20, 32: 65, plus 5.
    let mut entries = [0; 48];
    (entries[3], entries[16], entries[34]) = (13, 20, 32);
    let mut sum = [0];
    Isa::Scalar.fast_scan_sums(&pack(&[0x03, 0x02], 3), &Table::new(&entries), 5, &mut sum);
    assert_eq!(sum, [70]);
}

#[test]
#[should_panic(expected = "sums up to 65790 pass 65535")]
fn a_table_that_could_overflow_is_refused() {
    let _ = Table::new(&[255; 258 * 16]);
}

#[test]
#[should_panic(expected = "a bias of 65281 leaves the 16 bits; 65280 is left")]
fn a_bias_that_could_overflow_is_refused() {
    Isa::Scalar.fast_scan_sums(&[0; 64], &Table::new(&[255; 16]), 65281, &mut [0]);
}

#[test]
#[should_panic(expected = "64 rows of 4 parts take 128 bytes, not 64")]
fn missing_blocks_are_refused() {
    let _ = Codes::new(&[0; 64], 4, 64);
}
