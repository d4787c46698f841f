use super::*;
use crate::SplitMix64;
use proptest::prelude::*;

fn bytes(n: usize, seed: u64) -> Vec<u8> {
    let mut random = SplitMix64::new(seed);
    (0..n).map(|_| random.bits() as u8).collect()
}

/// Entries on a grid of `steps` values, so that few steps make ties; some negative.
fn table(parts: usize, steps: f64, seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::new(seed);
    (0..parts * 256).map(|_| ((random.unit() * steps).floor() - steps / 4.0) as f32 * 0.37).collect()
}

fn plain(code: &[u8], table: &[f32], bias: f32) -> f32 {
    code.iter().enumerate().fold(bias, |sum, (part, &byte)| sum + table[256 * part + usize::from(byte)])
}

proptest! {
    #[test]
    fn packing_loses_nothing(parts in 1usize..40, rows in 0usize..200, seed in any::<u64>()) {
        let codes = bytes(rows * parts, seed);
        let packed = pack(&codes, parts);
        prop_assert_eq!(packed.len(), packed_len(rows, parts));
        prop_assert_eq!(unpack(&packed, parts, rows), codes);
    }

    #[test]
    fn every_level_keeps_what_a_sort_would(
        parts in 1usize..20, rows in 0usize..5000, k in 0usize..150, steps in 2f64..1000.0, bias in -50f32..50.0,
        live in prop::collection::vec(any::<u64>(), 80), filter in any::<bool>(), seed in any::<u64>(),
    ) {
        let codes = bytes(rows * parts, seed);
        let packed = pack(&codes, parts);
        let tables: Vec<_> = (0..3).map(|q| table(parts, steps, seed ^ q)).collect();
        for isa in Isa::present() {
            let mut found = vec![Reservoir::new(k); tables.len()];
            let mut queries: Vec<_> =
                tables.iter().zip(&mut found).map(|(table, found)| Query { table, bias, gate: None, found }).collect();
            let view = Codes::new(&packed, parts, rows);
            isa.byte_scan(&if filter { view.only(&live) } else { view }, 9, &mut queries);
            for (table, found) in tables.iter().zip(found) {
                let mut want: Vec<(f32, u32)> = codes.chunks_exact(parts).enumerate()
                    .filter(|(row, _)| !filter || live[row / 64] >> (row % 64) & 1 == 1)
                    .map(|(row, code)| (plain(code, table, bias), row as u32 + 9)).collect();
                want.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                want.truncate(k);
                prop_assert_eq!(found.into_sorted(), want, "{}", isa.name());
            }
        }
    }

    #[test]
    fn gates_keep_what_a_filter_would(
        parts in 1usize..40, rows in 0usize..5000, k in 1usize..150, open in 0usize..300, share in 0.2f64..0.7,
        like in any::<bool>(), seed in any::<u64>(),
    ) {
        // Rows of few bits each differ from the code in as few bits or in many.
        let mut codes = bytes(rows * parts, seed);
        if like {
            codes.iter_mut().for_each(|byte| *byte &= 0x11);
        }
        let (packed, own) = (pack(&codes, parts), bytes(parts, seed ^ 1));
        let table = table(parts, 300.0, seed);
        let gate = Gate { code: &own, limit: (share * 8.0 * parts as f64) as u32, open };
        let bits = |code: &[u8]| code.iter().zip(&own).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
        let mut want: Vec<(f32, u32)> = codes.chunks_exact(parts).enumerate()
            .filter(|(row, code)| *row < open || bits(code) <= gate.limit)
            .map(|(row, code)| (plain(code, &table, 2.0), row as u32 + 9)).collect();
        want.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        want.truncate(k);
        for isa in Isa::present() {
            let mut found = Reservoir::new(k);
            let query = Query { table: &table, bias: 2.0, gate: Some(gate), found: &mut found };
            isa.byte_scan(&Codes::new(&packed, parts, rows), 9, &mut [query]);
            prop_assert_eq!(found.into_sorted(), want.clone(), "{}", isa.name());
        }
    }

    #[test]
    fn wide_codes_keep_what_a_sort_would(
        parts in 1usize..12, low in 1u32..=8, rows in 0usize..4000, k in 0usize..150, steps in 2f64..1000.0,
        near in any::<bool>(), seed in any::<u64>(),
    ) {
        let mut random = SplitMix64::new(seed);
        let numbers: Vec<u16> = (0..rows * parts).map(|_| random.bits() as u16 >> (8 - low)).collect();
        let each = 256 << low;
        let tables: Vec<Vec<f32>> = (0..3).map(|_| {
            let entry = |i: usize, random: &mut SplitMix64| {
                // Near each other in a byte, or not.
                let base = if near { (i >> low) as f64 * 0.1 } else { 0.0 };
                (base + (random.unit() * steps).floor()) as f32
            };
            (0..parts * each).map(|i| entry(i, &mut random)).collect()
        }).collect();
        let packed = pack_wide(&numbers, parts, low);
        for isa in Isa::present() {
            let mut found = vec![Reservoir::new(k); tables.len()];
            let mut queries: Vec<_> = tables.iter().zip(&mut found)
                .map(|(table, found)| Query { table, bias: 1.5, gate: None, found }).collect();
            isa.byte_scan(&Codes::wide(&packed, parts, low, rows), 9, &mut queries);
            for (table, found) in tables.iter().zip(found) {
                let distance = |numbers: &[u16]| numbers.iter().enumerate()
                    .fold(1.5, |sum, (part, &number)| sum + table[part * each + usize::from(number)]);
                let mut want: Vec<(f32, u32)> = numbers.chunks_exact(parts).map(distance).zip(9..).collect();
                want.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                want.truncate(k);
                prop_assert_eq!(found.into_sorted(), want, "{}", isa.name());
            }
        }
    }

    #[test]
    fn scores_are_the_plain_sums(parts in 1usize..20, rows in 0usize..200, seed in any::<u64>()) {
        let codes = bytes(rows * parts, seed);
        let table = table(parts, 100.0, seed);
        let mut got = vec![0.0; rows];
        score(&pack(&codes, parts), &table, 0.5, &mut got);
        let want: Vec<f32> = codes.chunks_exact(parts).map(|code| plain(code, &table, 0.5)).collect();
        prop_assert_eq!(got, want);
    }
}

#[test]
fn odd_tables_change_no_result() {
    // Equal entries (a reach of zero), infinities and NaN: the bytes must not lose a row.
    let (parts, rows, k) = (3, 4000, 50);
    let codes = bytes(rows * parts, 5);
    let packed = pack(&codes, parts);
    let mut odd = vec![
        vec![7.0; parts * 256],
        vec![-1e30; parts * 256],
        table(parts, 900.0, 1),
        table(parts, 900.0, 2),
    ];
    odd[2][300] = f32::NEG_INFINITY;
    odd[3][40..200].fill(f32::NAN);
    odd[3][600] = f32::INFINITY;
    odd[1][255] = 1e30;
    for table in &odd {
        let mut results = Vec::new();
        for isa in Isa::present() {
            let mut found = Reservoir::new(k);
            isa.byte_scan(
                &Codes::new(&packed, parts, rows),
                0,
                &mut [Query { table, bias: 0.0, gate: None, found: &mut found }],
            );
            results
                .push(found.into_sorted().into_iter().map(|(d, id)| (d.to_bits(), id)).collect::<Vec<_>>());
        }
        assert_eq!(results[0].len(), k);
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn a_limit_below_every_row_finds_nothing() {
    let (packed, table) = (pack(&bytes(8000, 1), 4), table(4, 100.0, 3));
    for isa in Isa::present() {
        let mut found = Reservoir::new(5);
        found.lower_limit(-1e6);
        isa.byte_scan(
            &Codes::new(&packed, 4, 2000),
            0,
            &mut [Query { table: &table, bias: 0.0, gate: None, found: &mut found }],
        );
        assert!(found.is_empty());
    }
}

#[test]
#[should_panic(expected = "256 entries a part")]
fn a_table_must_fit_the_codes() {
    let mut found = Reservoir::new(1);
    let codes = pack(&[1, 2], 2);
    let query = Query { table: &[0.0; 256], bias: 0.0, gate: None, found: &mut found };
    Isa::Scalar.byte_scan(&Codes::new(&codes, 2, 1), 0, &mut [query]);
}
