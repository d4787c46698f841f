//! Floating-point operations a second of the fused argmin, on one thread.

use deepembed_kernels::{Panels, SplitMix64};
use std::time::Instant;

#[allow(clippy::print_stdout)]
fn main() {
    let mut random = SplitMix64::new(1);
    for (dim, k, n) in
        [(8, 256, 40_000), (16, 256, 40_000), (32, 4096, 8192), (128, 4096, 4096), (960, 1024, 2048)]
    {
        let mut values = |n: usize| -> Vec<f32> { (0..n * dim).map(|_| random.unit() as f32).collect() };
        let (rows, queries) = (values(k), values(n));
        let panels = Panels::new(&rows, dim);
        let (mut ids, mut scores) = (vec![0; n], vec![0.0; n]);
        let mut best = f64::INFINITY;
        for _ in 0..7 {
            let start = Instant::now();
            for (q, (ids, scores)) in
                queries.chunks(256 * dim).zip(ids.chunks_mut(256).zip(scores.chunks_mut(256)))
            {
                panels.nearest(q, ids, scores);
            }
            best = best.min(start.elapsed().as_secs_f64());
        }
        let flops = 2.0 * (n * k * dim) as f64;
        println!("dim {dim} k {k}: {:.1} GFLOP/s, {:.3} us a row", flops / best / 1e9, best / n as f64 * 1e6);
    }
}
