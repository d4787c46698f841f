//! What every code and every transform promises, run on each of their examples.

use data::{Metric, Rows};
use deepembed_quant::codes::Code;
use deepembed_quant::transforms::Change;
use deepembed_quant::{Array, Arrays, Codec, Slab, Spec, Training, Values, load, save, search};
use proptest::prelude::*;
use std::num::NonZeroUsize;

const DIM: usize = 64;

/// `n` rows in a few clumps, as embeddings are; each value of a row depends on its neighbours.
fn clumps(n: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut random = kernels::SplitMix64::new(seed);
    let mut normal = move || (0..6).map(|_| random.unit() as f32 - 0.5).sum::<f32>();
    let centres: Vec<f32> = (0..20 * dim).map(|_| 2.0 * normal()).collect();
    let mut rows = Vec::with_capacity(n * dim);
    for i in 0..n {
        let mut last = 0.0;
        for j in 0..dim {
            last = 0.6 * last + normal();
            rows.push(centres[i % 20 * dim + j] + last + 1.0);
        }
    }
    rows
}

fn specs() -> Vec<Spec> {
    let codes = Code::EXAMPLES.iter().flat_map(|words| words.iter()).map(|&word| word.to_owned());
    let changes = Change::EXAMPLES.iter().flat_map(|words| words.iter()).map(|word| format!("{word},Flat"));
    codes.chain(changes).map(|line| line.parse().unwrap_or_else(|err| panic!("{line}: {err}"))).collect()
}

fn train(spec: &Spec, rows: &[f32], dim: usize) -> Box<dyn Codec> {
    let rows = Rows::new(rows, dim).unwrap();
    spec.train(rows, &Training::seeded(7)).unwrap_or_else(|err| panic!("{spec}: {err}"))
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

#[test]
fn specs_survive_printing() {
    let words = Code::EXAMPLES.iter().chain(Change::EXAMPLES).flat_map(|words| words.iter());
    let printed = |word: &str| {
        Code::parse(word).map(|code| code.to_string()).or_else(|_| Change::parse(word).map(|c| c.to_string()))
    };
    for &word in words {
        assert_eq!(printed(word).unwrap(), word);
    }
    assert!("Nothing8".parse::<Spec>().unwrap_err().to_string().starts_with("\"Nothing8\" names no code"));
    assert!("Nothing8,Flat".parse::<Spec>().unwrap_err().to_string().contains("no transform"));
}

#[test]
fn the_thread_count_and_the_chunks_change_no_byte() {
    let rows = clumps(2000, DIM, 1);
    for spec in specs() {
        let run = |threads| {
            pool(threads).install(|| {
                let codec = train(&spec, &rows, DIM);
                let codes = codec.encode_all(Rows::new(&rows[..600 * DIM], DIM).unwrap()).unwrap();
                (codec.arrays(), codes)
            })
        };
        let (one, three) = (run(1), run(3));
        assert!(one == three, "{spec} differs between one thread and three");
        let codec = train(&spec, &rows, DIM);
        let mut single = vec![0; codec.code_len()];
        for (i, code) in one.1.chunks(codec.code_len()).enumerate().take(50) {
            codec.encode(Rows::new(&rows[i * DIM..][..DIM], DIM).unwrap(), &mut single);
            assert_eq!(single, code, "{spec} encodes row {i} otherwise when it is alone");
        }
    }
}

#[test]
fn scorers_and_scanners_agree() {
    let rows = clumps(2000, DIM, 2);
    let queries = clumps(9, DIM, 3);
    let queries = Rows::new(&queries, DIM).unwrap();
    for spec in specs() {
        let codec = train(&spec, &rows, DIM);
        let codes = codec.encode_all(Rows::new(&rows, DIM).unwrap()).unwrap();
        let packed = codec.pack(codes.clone());
        for n in [0, 1, 31, 65, 2000] {
            let some = codec.pack(codes[..n * codec.code_len()].to_vec());
            assert_eq!(some.len(), codec.packed_len(n), "{spec}: {n} rows");
        }
        for metric in [Metric::L2, Metric::Dot] {
            let k = NonZeroUsize::new(20).unwrap();
            let hits = search(&*codec, &packed, 2000, queries, metric, k).unwrap();
            for (query, hits) in queries.iter().zip(hits.iter()) {
                let mut distances = vec![0.0; 2000];
                codec.scorer(query, metric).score(&codes, &mut distances);
                assert_eq!(hits.len(), 20, "{spec}");
                let spread = distances.iter().copied().fold(f32::MIN, f32::max)
                    - distances.iter().copied().fold(f32::MAX, f32::min);
                let mut sorted = distances.clone();
                sorted.sort_by(f32::total_cmp);
                for (i, hit) in hits.iter().enumerate() {
                    // Table scans round their tables; what they find is near the truth all the same.
                    let slack = 0.03 * spread;
                    let own = distances[hit.id as usize];
                    assert!((hit.distance - own).abs() <= slack, "{spec} {metric}: {hit:?} is at {own}");
                    assert!(
                        own <= sorted[i] + 2.0 * slack,
                        "{spec} {metric}: rank {i} at {own}, not {}",
                        sorted[i]
                    );
                }
                assert!(
                    hits.windows(2).all(|pair| pair[0].order(&pair[1]).is_lt()),
                    "{spec} is out of order"
                );
            }
        }
    }
}

#[test]
fn queries_may_be_offered_different_slabs() {
    // Lists of different lengths, each visited by some of the queries, some with a filter.
    const ENDS: [usize; 6] = [0, 1, 70, 700, 1100, 2000];
    let (rows, queries) = (clumps(2000, DIM, 2), clumps(4, DIM, 3));
    let queries = Rows::new(&queries, DIM).unwrap();
    let visits: [&[u32]; 5] = [&[0, 1, 2, 3], &[1], &[0, 3], &[], &[1, 2, 3]];
    let live: Vec<u64> = (0..32).map(|word: u64| word.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    for spec in specs() {
        let codec = train(&spec, &rows, DIM);
        let codes = codec.encode_all(Rows::new(&rows, DIM).unwrap()).unwrap();
        let lists: Vec<Vec<u8>> = ENDS
            .windows(2)
            .map(|pair| codec.pack(codes[pair[0] * codec.code_len()..pair[1] * codec.code_len()].to_vec()))
            .collect();
        let slab = |list: usize| {
            let live = (list % 2 == 1).then_some(&live[..]);
            let (first, end) = (ENDS[list], ENDS[list + 1]);
            Slab { packed: &lists[list], len: end - first, first: first as u64, live }
        };
        for metric in [Metric::L2, Metric::Dot] {
            let mut together = codec.scanner(queries, metric, 40);
            visits.iter().enumerate().for_each(|(list, which)| together.scan(&slab(list), which));
            for (query, found) in together.finish().into_iter().enumerate() {
                let mut alone = codec.scanner(queries.slice(query..query + 1), metric, 40);
                let visited = (0..5).filter(|&list| visits[list].contains(&(query as u32)));
                visited.for_each(|list| alone.scan(&slab(list), &[0]));
                assert_eq!(found, alone.finish().remove(0), "{spec} {metric}");
                let lives = |id: u64| {
                    let list = (0..5).find(|&list| id < ENDS[list + 1] as u64).unwrap();
                    let i = id as usize - ENDS[list];
                    visits[list].contains(&(query as u32))
                        && (list % 2 == 0 || live[i / 64] >> (i % 64) & 1 == 1)
                };
                assert!(found.iter().all(|&(_, id)| lives(id)), "{spec} {metric}");
                let all = (0..2000).filter(|&id| lives(id)).count();
                assert_eq!(found.len(), all.min(40), "{spec} {metric}");
            }
        }
    }
}

#[test]
fn saved_codes_come_back() {
    let rows = clumps(2000, DIM, 4);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("code.safetensors");
    for spec in specs() {
        let codec = train(&spec, &rows, DIM);
        save(&path, &spec, &*codec).unwrap();
        let first = std::fs::read(&path).unwrap();
        save(&path, &spec, &*codec).unwrap();
        assert!(first == std::fs::read(&path).unwrap(), "{spec} is saved as other bytes each time");
        let (again, loaded) = load(&path).unwrap_or_else(|err| panic!("{spec}: {err}"));
        assert_eq!(again, spec);
        let view = Rows::new(&rows[..100 * DIM], DIM).unwrap();
        assert_eq!(codec.encode_all(view).unwrap(), loaded.encode_all(view).unwrap(), "{spec}");
        let codes = codec.encode_all(view).unwrap();
        let decode = |codec: &dyn Codec| {
            let mut out = vec![0.0; 100 * DIM];
            codec.decode(&codes, &mut out);
            out
        };
        assert_eq!(decode(&*codec), decode(&*loaded), "{spec}");
    }
}

#[test]
fn arrays_that_lie_are_errors() {
    let rows = clumps(2000, DIM, 5);
    for spec in specs() {
        let arrays = train(&spec, &rows, DIM).arrays();
        for i in 0..arrays.len() {
            let with = |change: &dyn Fn(&mut Array)| {
                let mut arrays = arrays.clone();
                change(&mut arrays[i]);
                spec.restore(DIM, &mut arrays.into_iter().collect::<Arrays>()).is_err()
            };
            assert!(with(&|array| array.name.push('x')), "{spec} does without {}", arrays[i].name);
            let cut = |array: &mut Array| {
                array.shape = vec![0];
                array.values = Values::F32(Vec::new());
            };
            assert!(with(&cut), "{spec} takes an empty {}", arrays[i].name);
            let not_finite = |array: &mut Array| {
                if let Values::F32(values) = &mut array.values {
                    values[0] = f32::NAN;
                }
            };
            assert!(!matches!(arrays[i].values, Values::F32(_)) || with(&not_finite), "{spec} takes NaN");
        }
    }
}

#[test]
fn any_bytes_decode_and_score() {
    let rows = clumps(2000, DIM, 6);
    for spec in specs() {
        let codec = train(&spec, &rows, DIM);
        for byte in [0, 0x55, 0xff] {
            let codes = vec![byte; 40 * codec.code_len()];
            codec.decode(&codes, &mut vec![0.0; 40 * DIM]);
            let mut distances = vec![0.0; 40];
            codec.scorer(&rows[..DIM], Metric::L2).score(&codes, &mut distances);
            let k = NonZeroUsize::new(5).unwrap();
            let query = Rows::new(&rows[..DIM], DIM).unwrap();
            search(&*codec, &codec.pack(codes), 40, query, Metric::L2, k).unwrap();
        }
    }
}

#[test]
fn hard_rows_train_or_say_why() {
    let constant = vec![3.0; 1000 * DIM];
    let mut twins = clumps(2, DIM, 8);
    twins = (0..500).flat_map(|_| twins.clone()).collect();
    for spec in specs() {
        for rows in [&constant, &twins] {
            let rows = Rows::new(rows, DIM).unwrap();
            if let Ok(codec) = spec.train(rows, &Training::seeded(1)) {
                let codes = codec.encode_all(rows).unwrap();
                let mut out = vec![0.0; 1000 * DIM];
                codec.decode(&codes, &mut out);
                assert!(out.iter().all(|v| v.is_finite()), "{spec} decodes to something not finite");
            }
        }
        let few = clumps(1, DIM, 9);
        if let Err(err) = spec.train(Rows::new(&few, DIM).unwrap(), &Training::seeded(1)) {
            assert!(!err.to_string().contains('\n'), "{spec}: {err}");
        }
        let empty = spec.train(Rows::new(&[], DIM).unwrap(), &Training::seeded(1));
        assert!(empty.is_err(), "{spec} learns from nothing");
        let broken = vec![f32::NAN; 1000 * DIM];
        assert!(
            spec.train(Rows::new(&broken, DIM).unwrap(), &Training::seeded(1)).is_err(),
            "{spec} takes NaN"
        );
    }
}

proptest! {
    #[test]
    fn no_line_panics(line in "([A-Za-z]{1,7}[0-9]{0,3}[x_,]?){0,4}") {
        if let Ok(spec) = line.parse::<Spec>() {
            prop_assert_eq!(spec.to_string().parse::<Spec>().unwrap(), spec);
        }
    }
}
