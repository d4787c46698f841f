//! What growing costs: searches of an index as built, and after rows were removed and added; and the commits.
//!
//! `cargo run --release --example growth_speed -- 100000 64 HNSW16`: rows, values a row, spec. Rows are random around
//! centres; times are of one thread.
#![allow(clippy::print_stdout)]

use cpu_time::ThreadTime;
use data::{Hits, Id, Metric, Rows};
use deepembed_index::{Index, Provenance, Request, Watch, Writer, build, recall, save};
use kernels::SplitMix64;
use std::num::NonZeroUsize;
use std::time::Instant;

const QUERIES: usize = 2000;

fn rows(n: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut centres = SplitMix64::new(1);
    let centres: Vec<f32> = (0..64 * dim).map(|_| centres.unit() as f32 * 2.0).collect();
    let mut random = SplitMix64::new(seed);
    let mut values = Vec::with_capacity(n * dim);
    for _ in 0..n {
        let at = random.below(64) * dim;
        values.extend(centres[at..at + dim].iter().map(|v| v + random.unit() as f32));
    }
    values
}

fn report(what: &str, index: &dyn Index, exact: &dyn Index, queries: Rows<'_, f32>) {
    let k = NonZeroUsize::new(10).unwrap();
    let start = ThreadTime::now();
    index.search(queries, &Request::top(k), &mut Hits::default()).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let few = queries.slice(0..200);
    let right = recall(index, exact, few, k, Default::default()).unwrap();
    println!("{what:32} {:8.0} queries a CPU second, recall@10 {right:.3}", queries.len() as f64 / seconds);
}

fn main() {
    let mut words = std::env::args().skip(1);
    let mut number = |default: usize| words.next().map_or(default, |word| word.parse().unwrap());
    let (n, dim) = (number(100_000), number(64));
    let spec = words.next().unwrap_or_else(|| "HNSW16".into());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().unwrap();
    pool.install(|| run(n, dim, &spec));
}

fn run(n: usize, dim: usize, spec: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let exact_path = folder.path().join("exact");
    let values = rows(n + n / 10, dim, 2);
    let all = Rows::new(&values, dim).unwrap();
    let queries = rows(QUERIES, dim, 3);
    let queries = Rows::new(&queries, dim).unwrap();
    let provenance = Provenance { model: None, data_hash: String::new(), seed: 1 };
    for (spec, path) in [(spec, &path), ("Flat", &exact_path)] {
        let start = Instant::now();
        let index = build(&spec.parse().unwrap(), all.slice(0..n), Metric::L2, 1, &Watch::none()).unwrap();
        save(path, &*index, &provenance, b"").unwrap();
        println!("{:32} {:8.2} s", format!("build and save {spec}"), start.elapsed().as_secs_f64());
    }
    let (mut writer, mut exact) = (Writer::open(&path).unwrap(), Writer::open(&exact_path).unwrap());
    let show = |what: &str, writer: &Writer, exact: &Writer| {
        report(what, &*writer.reader().index, &*exact.reader().index, queries);
    };
    show("as built", &writer, &exact);
    let commit = |what: &str, writer: &mut Writer, exact: &mut Writer| {
        let start = Instant::now();
        let done = writer.commit(&Watch::none()).unwrap();
        println!("{what:32} {:8.3} s, {} segments", start.elapsed().as_secs_f64(), done.segments.len());
        exact.commit(&Watch::none()).unwrap();
    };
    for (first, step) in [(0, n), (1, 100), (2, 10), (3, 3)] {
        let gone: Vec<Id> = (first..n as Id).step_by(step).collect();
        writer.remove(&gone);
        exact.remove(&gone);
        commit(&format!("remove {}", gone.len()), &mut writer, &mut exact);
        show("then", &writer, &exact);
    }
    for (first, last) in [(n, n + n / 100), (n + n / 100, n + n / 10)] {
        let ids: Vec<Id> = (first as Id..last as Id).collect();
        writer.add(&ids, all.slice(first..last)).unwrap();
        exact.add(&ids, all.slice(first..last)).unwrap();
        commit(&format!("add {}", ids.len()), &mut writer, &mut exact);
        show("then", &writer, &exact);
    }
    let start = Instant::now();
    writer.compact(&Watch::none()).unwrap();
    println!("{:32} {:8.2} s", "compact", start.elapsed().as_secs_f64());
    show("then", &writer, &exact);
}
