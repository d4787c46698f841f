//! Training steps a second: our trainer and the same network in PyTorch, by turns.

use crate::timing::{Clocks, Took};
use anyhow::{Context, ensure};
use data::Dataset;
use neural::{Event, Recipe, Session, drill, train};
use serde::Serialize;
use std::cell::RefCell;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicBool;

/// Compare training speed with PyTorch on this machine's processor.
#[derive(clap::Args)]
pub struct Args {
    /// Threads of either side.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Turns of each side.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Steps timed in a turn.
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Network and recipe.
    #[arg(long, default_value = "small")]
    net: Net,
    /// A Python with PyTorch; without one only our side runs.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// What is trained.
#[derive(Clone, Copy, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Net {
    /// The residual net of recipe `scratch`, 64 px.
    Small,
    /// EfficientNet-lite0 as recipe `starter` tunes it, 128 px.
    Starter,
}

/// Steps that are not counted: memory is still being claimed.
const WARM_UP: usize = 2;

/// Side of the inputs, the same for the PyTorch script.
const fn side(net: Net) -> usize {
    match net {
        Net::Small => 64,
        Net::Starter => 128,
    }
}

/// One turn of everything.
#[derive(Serialize)]
struct Round {
    /// Steps on given inputs.
    ours: Took,
    /// Steps that make their own views.
    ours_with_views: Took,
    /// PyTorch's steps on given inputs.
    pytorch: Option<Took>,
}

#[derive(Serialize)]
struct Report {
    net: Net,
    threads: usize,
    batch: usize,
    side: usize,
    rounds: Vec<Round>,
}

impl Args {
    /// Runs all turns and prints the table.
    #[allow(clippy::print_stdout)]
    pub fn run(&self) -> anyhow::Result<()> {
        ensure!(self.rounds > 0 && self.steps > 0, "--rounds and --steps must be at least 1");
        let recipe = self.recipe()?;
        let dataset = Dataset::emoji()?;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build()?;
        let mut rounds = Vec::new();
        for _ in 0..self.rounds {
            let ours = pool.install(|| self.ours(&recipe, &dataset, false))?;
            let ours_with_views = pool.install(|| self.ours(&recipe, &dataset, true))?;
            let pytorch =
                self.python.as_ref().map(|python| self.pytorch(python, recipe.model.frozen)).transpose()?;
            rounds.push(Round { ours, ours_with_views, pytorch });
        }
        let batch = recipe.sampler.init().size();
        let report = Report { net: self.net, threads: self.threads, batch, side: side(self.net), rounds };
        if self.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            println!("{}", report.table());
        }
        Ok(())
    }

    fn recipe(&self) -> anyhow::Result<Recipe> {
        let name = match self.net {
            Net::Small => "scratch",
            Net::Starter => "starter",
        };
        let text = Recipe::named(name).with_context(|| format!("no recipe {name}"))?;
        let overrides = [
            format!("schedule.steps={}", WARM_UP + self.steps),
            "schedule.cached_views=0".to_owned(),
            "head.steps=0".to_owned(),
            format!("input.size={}", side(self.net)),
            "input.train_size=0".to_owned(),
        ];
        Ok(Recipe::parse(text, &overrides)?)
    }

    /// One turn of ours: on given inputs, or with the making of views.
    fn ours(&self, recipe: &Recipe, dataset: &Dataset, views: bool) -> anyhow::Result<Took> {
        let folder = tempfile::tempdir()?;
        let batch = recipe.sampler.init().size();
        let inputs: Vec<f32> = (0..batch * side(self.net).pow(2) * 3).map(speckle).collect();
        let (clocks, took) = (RefCell::new(Clocks::start()), RefCell::new(None));
        let observe = |event: &Event| {
            let Event::Step(step) = event else { return };
            if step.step == WARM_UP {
                *clocks.borrow_mut() = Clocks::start();
            } else if step.step == WARM_UP + self.steps {
                *took.borrow_mut() = Some(clocks.borrow().took(self.steps * step.images));
            }
        };
        let session = Session {
            recipe,
            dataset,
            data_hash: "",
            checkpoints: folder.path(),
            seed: 1,
            resume: false,
            stop: &AtomicBool::new(false),
            validate: &|_| Ok(0.0),
            observe: &observe,
        };
        if views {
            train(&session)?;
        } else {
            drill(&session, &inputs)?;
        }
        took.into_inner().context("training ended before its last step")
    }

    /// One turn of PyTorch, in a process of its own that times itself.
    fn pytorch(&self, python: &PathBuf, frozen: usize) -> anyhow::Result<Took> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/train_speed.py");
        let net = serde_json::to_value(self.net)?;
        let output = Command::new(python)
            .arg(script)
            .args(["--net", net.as_str().unwrap_or_default()])
            .args(["--threads", &self.threads.to_string()])
            .args(["--steps", &self.steps.to_string(), "--warm-up", &WARM_UP.to_string()])
            .args(["--frozen", &frozen.to_string()])
            // Idle worker threads that spin would be counted as work.
            .env("OMP_WAIT_POLICY", "PASSIVE")
            .output()
            .with_context(|| format!("starting {}", python.display()))?;
        let (said, wrong) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{script}: {}", wrong.trim());
        let line = said.lines().last().context("the script printed nothing")?;
        serde_json::from_str(line).with_context(|| format!("{script} printed: {line}"))
    }
}

/// A value between -1 and 1 that looks random.
fn speckle(i: usize) -> f32 {
    ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0
}

/// Median and range.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let (middle, last) = (values.len() / 2, values.len() - 1);
    let median = f64::midpoint(values[(values.len() - 1) / 2], values[middle]);
    format!("{median:.2} ({:.2} to {:.2})", values[0], values[last])
}

impl Report {
    fn table(&self) -> String {
        let mut lines = vec![
            format!(
                "{:?}, batch {} at {} px, {} threads; median (range) of {} rounds",
                self.net,
                self.batch,
                self.side,
                self.threads,
                self.rounds.len()
            ),
            "| | images/s, wall | images per CPU second |".to_owned(),
            "|---|---|---|".to_owned(),
        ];
        let both = |pick: &dyn Fn(&Round) -> Option<(f64, f64)>| {
            let (wall, cpu): (Vec<_>, Vec<_>) = self.rounds.iter().filter_map(pick).unzip();
            (!wall.is_empty()).then(|| format!("{} | {}", spread(wall), spread(cpu)))
        };
        let speeds = |took: &Took| (took.per_wall(), took.per_cpu());
        let rows = [
            ("ours", both(&|round| Some(speeds(&round.ours)))),
            ("ours, views made too", both(&|round| Some(speeds(&round.ours_with_views)))),
            ("PyTorch", both(&|round| round.pytorch.as_ref().map(speeds))),
            ("ours / PyTorch", both(&|round| Some(ratio(&round.ours, round.pytorch.as_ref()?)))),
        ];
        let rows = rows.into_iter().filter_map(|(name, row)| Some(format!("| {name} | {} |", row?)));
        lines.extend(rows);
        lines.join("\n")
    }
}

fn ratio(ours: &Took, theirs: &Took) -> (f64, f64) {
    (ours.per_wall() / theirs.per_wall(), ours.per_cpu() / theirs.per_cpu())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_medians_ranges_and_ratios() {
        let took = |wall, cpu| Took { images: 100, wall, cpu };
        let round = |ours, theirs| Round {
            ours: took(ours, 2.0 * ours),
            ours_with_views: took(2.0, 4.0),
            pytorch: Some(took(theirs, theirs)),
        };
        let rounds = vec![round(1.0, 2.0), round(2.0, 1.0), round(1.0, 1.0)];
        let report = Report { net: Net::Small, threads: 2, batch: 128, side: 64, rounds };
        let table = report.table();
        assert!(table.contains("| ours | 100.00 (50.00 to 100.00) | 50.00 (25.00 to 50.00) |"), "{table}");
        assert!(table.contains("| ours / PyTorch | 1.00 (0.50 to 2.00) | 0.50 (0.25 to 1.00) |"), "{table}");
    }

    #[test]
    fn inputs_stay_between_minus_one_and_one() {
        assert!((0..10_000).map(speckle).all(|v| (-1.0..=1.0).contains(&v)));
    }
}
