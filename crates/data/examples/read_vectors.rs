//! How fast the rows of a file of vectors are gone through, and in how much memory:
//! `cargo run --release -p deepembed-data --example read_vectors -- FILE read|borrow`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example speaks")]

use deepembed_data::vectors::VectorFile;
use std::error::Error;
use std::time::Instant;

/// Values gone through at once.
const PIECE: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, how] = &arguments[..] else { return Err("say FILE and read or borrow".into()) };
    let start = Instant::now();
    let file = VectorFile::open(path.as_ref())?;
    let rows = (PIECE / file.dim()).max(1);
    let (mut sum, mut piece) = (0.0f64, Vec::new());
    for first in (0..file.len()).step_by(rows) {
        let last = (first + rows).min(file.len());
        if how == "borrow" {
            sum += total(file.borrowed(first..last).ok_or("the rows cannot be borrowed")?);
        } else {
            piece.resize((last - first) * file.dim(), 0.0);
            file.read_into(first, &mut piece)?;
            sum += total(&piece);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let gigabytes = file.len() as f64 * file.dim() as f64 * 4e-9;
    println!("{how}: {:.2} s, {:.2} GB/s, sum {sum}", seconds, gigabytes / seconds);
    // Linux says how much memory was resident at most.
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        status
            .lines()
            .filter(|line| line.starts_with("VmHWM") || line.starts_with("Rss"))
            .for_each(|line| println!("{line}"));
    }
    Ok(())
}

/// Eight sums beside each other: one alone would wait for itself at every step and be slower than the file.
fn total(values: &[f32]) -> f64 {
    let mut sums = [0.0f32; 8];
    for eight in values.chunks_exact(8) {
        sums.iter_mut().zip(eight).for_each(|(sum, value)| *sum += value);
    }
    sums.iter().map(|&sum| f64::from(sum)).sum()
}
