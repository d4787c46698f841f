//! Every instruction set against the definition, and the definition against plain sums.

use super::*;
use proptest::prelude::*;

/// A query, residuals of 32 neighbours and their numbers, of a few chunks.
fn case() -> impl Strategy<Value = (Vec<f32>, Vec<f32>, Vec<u16>)> {
    // Beyond 64 chunks the sums of AVX2 pass 16 bits.
    prop_oneof![1usize..10, 60usize..70].prop_flat_map(|chunks| {
        let value = -1e3f32..1e3;
        (
            prop::collection::vec(value.clone(), chunks * CHUNK),
            prop::collection::vec(value, chunks * CHUNK * BLOCK),
            prop::collection::vec(any::<u16>(), 2 * BLOCK),
        )
    })
}

fn signs(residuals: &[f32], dims: usize) -> Vec<u8> {
    let mut signs = vec![0xa5; signs_len(dims)];
    for (slot, residual) in residuals.chunks_exact(dims).enumerate() {
        set_signs(&mut signs, slot, residual);
    }
    signs
}

fn bits(values: &[f32]) -> Vec<u32> {
    // NaN has no defined bits.
    values.iter().map(|v| if v.is_nan() { u32::MAX } else { v.to_bits() }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn instruction_sets_agree((query, residuals, numbers) in case(), base in -1e6f32..1e6, bound: f32) {
        let signs = signs(&residuals, query.len());
        let (add, scale) = numbers.split_at(BLOCK);
        let block = SignBlock { signs: &signs, add: add.try_into().unwrap(), scale: scale.try_into().unwrap() };
        let mut table = SignTable::default();
        table.set(Isa::Scalar, &query);
        let mut want = [0.0; BLOCK];
        let mask = Isa::Scalar.estimate_block(&table, block, base, bound, &mut want);
        for isa in Isa::present() {
            let mut got = [0.0; BLOCK];
            table.set(isa, &query);
            prop_assert_eq!(isa.estimate_block(&table, block, base, bound, &mut got), mask, "{}", isa.name());
            prop_assert_eq!(bits(&got), bits(&want), "{}", isa.name());
            let r = &residuals[..query.len()];
            prop_assert_eq!(bits(&isa.sign_sums(r, &query)), bits(&Isa::Scalar.sign_sums(r, &query)));
        }
    }

    #[test]
    fn estimates_follow_the_formula((query, residuals, _) in case()) {
        let dims = query.len();
        let signs = signs(&residuals, dims);
        // 3 and 0.5 in bf16.
        let (add, scale) = ([0x4040; BLOCK], [0x3f00; BLOCK]);
        let mut table = SignTable::default();
        table.set(Isa::current(), &query);
        prop_assert_eq!(table.dims(), dims);
        let mut got = [0.0; BLOCK];
        let block = SignBlock { signs: &signs, add: &add, scale: &scale };
        let mask = Isa::current().estimate_block(&table, block, 7.0, 10.0, &mut got);
        for (v, residual) in residuals.chunks_exact(dims).enumerate() {
            let sign = |r: f32| if r >= 0.0 { 1.0 } else { -1.0 };
            let t: f64 = residual.iter().zip(&query).map(|(&r, &q)| sign(r) * f64::from(q)).sum();
            let want = 10.0 - 0.5 * t;
            // Half a step a part, and rounding.
            let slack = 0.5 * (f64::from(table.step) * (dims / PART) as f64 * 0.51) + 1e-4 * (1.0 + want.abs());
            prop_assert!((f64::from(got[v]) - want).abs() < slack, "{} {}", got[v], want);
            prop_assert_eq!(mask >> v & 1 == 1, got[v] <= 10.0);
        }
    }
}

#[test]
fn sums_by_hand() {
    let mut residual = [0.0; 16];
    residual[..3].copy_from_slice(&[3.0, -4.0, 0.0]);
    let mut p = [0.0; 16];
    p[..3].copy_from_slice(&[1.0, 10.0, 100.0]);
    // 9 + 16; 3 + 4; 1 - 10 + 100.
    assert_eq!(Isa::current().sign_sums(&residual, &p), [25.0, 7.0, 91.0]);
}

#[test]
fn a_query_of_zeros_or_infinities_does_no_harm() {
    let signs = vec![0; signs_len(16)];
    let block = SignBlock { signs: &signs, add: &[0x4040; BLOCK], scale: &[0x3f80; BLOCK] };
    let mut table = SignTable::default();
    let mut out = [0.0; BLOCK];
    table.set(Isa::current(), &[0.0; 16]);
    assert_eq!(Isa::current().estimate_block(&table, block, 1.0, 4.0, &mut out), u32::MAX);
    assert_eq!(out, [4.0; BLOCK]);
    table.set(Isa::current(), &[f32::MAX; 16]);
    assert_eq!(Isa::current().estimate_block(&table, block, 1.0, f32::NAN, &mut out), 0);
}
