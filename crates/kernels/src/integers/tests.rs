use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// Compares every shape of every level with the definition in 64 bits.
fn agree<T: Byte>(dim: usize, query: &[T], rows: &[T], picks: &[usize]) {
    let wide = |row: &[T]| {
        let dot: i64 = query.iter().zip(row).map(|(a, b)| i64::from(a.wide()) * i64::from(b.wide())).sum();
        let l2: i64 = query.iter().zip(row).map(|(a, b)| i64::from(a.wide() - b.wide()).pow(2)).sum();
        [dot, l2].map(|sum| i32::try_from(sum).unwrap())
    };
    let want: Vec<[i32; 2]> = rows.chunks_exact(dim).map(wide).collect();
    let ids: Vec<u32> = picks.iter().map(|pick| (pick % want.len()) as u32).collect();
    for isa in Isa::present() {
        let mut all = [vec![0; want.len()], vec![0; want.len()]];
        let mut at = [vec![0; ids.len()], vec![0; ids.len()]];
        isa.dots_bytes(query, rows, &mut all[0]);
        isa.l2s_bytes(query, rows, &mut all[1]);
        isa.dots_bytes_at(query, rows, &ids, &mut at[0]);
        isa.l2s_bytes_at(query, rows, &ids, &mut at[1]);
        for (r, row) in rows.chunks_exact(dim).enumerate() {
            assert_eq!([all[0][r], all[1][r]], want[r], "{}", isa.name());
            assert_eq!([isa.dot_bytes(query, row), isa.l2_bytes(query, row)], want[r], "{}", isa.name());
        }
        for (i, &id) in ids.iter().enumerate() {
            assert_eq!([at[0][i], at[1][i]], want[id as usize], "{}", isa.name());
        }
    }
}

proptest! {
    #[test]
    fn every_shape_gives_the_exact_sum(
        (dim, query, rows) in (1usize..200, 1usize..9)
            .prop_flat_map(|(d, n)| (Just(d), vec(any::<u8>(), d), vec(any::<u8>(), d * n))),
        picks in vec(0usize..50, 0..20),
    ) {
        agree(dim, &query, &rows, &picks);
        let signed = |bytes: &[u8]| bytes.iter().map(|&byte| byte as i8).collect::<Vec<_>>();
        agree(dim, &signed(&query), &signed(&rows), &picks);
    }

    #[test]
    fn nibbles_give_the_exact_sum(
        (len, query, rows) in (1usize..200, 1usize..9)
            .prop_flat_map(|(d, n)| (Just(d), vec(any::<u8>(), d), vec(any::<u8>(), d * n))),
    ) {
        let split = |row: &[u8]| row.iter().flat_map(|b| [b & 15, b >> 4]).collect::<Vec<u8>>();
        for isa in Isa::present() {
            let mut all = vec![0; rows.len() / len];
            isa.dots_nibbles(&query, &rows, &mut all);
            for (r, row) in rows.chunks_exact(len).enumerate() {
                let mut at = [0];
                isa.dots_nibbles_at(&query, &rows, &[r as u32], &mut at);
                let want = Isa::Scalar.dot_bytes(&split(&query), &split(row));
                prop_assert_eq!([all[r], at[0], isa.dot_nibbles(&query, row)], [want; 3], "{}", isa.name());
            }
        }
    }
}

#[test]
fn the_largest_sums_fit() {
    let (high, low) = (vec![u8::MAX; MOST_DIMENSIONS], vec![0; MOST_DIMENSIONS]);
    let (most, least) = (vec![i8::MAX; MOST_DIMENSIONS], vec![i8::MIN; MOST_DIMENSIONS]);
    for isa in Isa::present() {
        assert_eq!(isa.dot_bytes(&high, &high), 255 * 255 * 32768);
        assert_eq!(isa.l2_bytes(&high, &low), 255 * 255 * 32768);
        assert_eq!(isa.l2_bytes(&most, &least), 255 * 255 * 32768);
        assert_eq!(isa.dot_bytes(&most, &least), -127 * 128 * 32768);
        assert_eq!(isa.dot_bytes(&least, &least), 128 * 128 * 32768);
        assert_eq!(isa.dot_nibbles(&high, &high), 2 * 225 * 32768);
    }
}

#[test]
#[should_panic(expected = "32769 dimensions; sums of more than 32768 may not fit")]
fn longer_rows_are_refused() {
    let row = vec![0u8; MOST_DIMENSIONS + 1];
    let _ = Isa::Scalar.dot_bytes(&row, &row);
}
