//! The folder of one run: everything needed to read it, repeat it and go on from it.

use crate::context::{Source, write_file};
use crate::failure::{Code, Failure, Outcome};
use crate::tensorboard::EventFile;
use neural::{Event, Recipe};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a run was asked for: enough to do it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunFacts {
    /// Program version.
    pub version: String,
    /// Where the pictures came from.
    pub data: String,
    /// Hash of their manifest.
    pub data_hash: String,
    /// Seed.
    pub seed: u64,
    /// Threads.
    pub threads: usize,
    /// Command line.
    pub command: String,
    /// Processor.
    pub hardware: String,
}

/// Paths inside a run folder.
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn checkpoints(&self) -> PathBuf {
        self.file("checkpoints")
    }

    pub fn model(&self) -> PathBuf {
        self.file("model.safetensors")
    }

    pub fn index(&self) -> PathBuf {
        self.file("index.deepembed")
    }

    pub fn report(&self) -> PathBuf {
        self.file("report.html")
    }

    pub fn map(&self) -> PathBuf {
        self.file("map.json")
    }

    pub fn metrics(&self) -> PathBuf {
        self.file("metrics.json")
    }

    fn log(&self) -> PathBuf {
        self.file("metrics.jsonl")
    }

    /// Makes the folder and writes what the run was asked for.
    pub fn start(&self, facts: &RunFacts, recipe: &Recipe, dataset: &data::Dataset) -> Outcome {
        let made = std::fs::create_dir_all(&self.path);
        made.map_err(|error| {
            let text = format!("cannot make the folder {}", self.path.display());
            Failure::new(Code::Failed, anyhow::Error::new(error).context(text))
        })?;
        write_file(&self.file("recipe.toml"), recipe.to_toml().as_bytes())?;
        let json = serde_json::to_string_pretty(facts).expect("facts have a JSON form");
        write_file(&self.file("run.json"), json.as_bytes())?;
        dataset.write_manifest(&self.file("manifest.csv"))?;
        Ok(())
    }

    /// What the run was asked for.
    pub fn facts(&self) -> Outcome<RunFacts> {
        let path = self.file("run.json");
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let text = format!("{} is not a run folder: no run.json", self.path.display());
            Failure::new(Code::Usage, anyhow::Error::new(error).context(text))
        })?;
        serde_json::from_str(&text).map_err(|error| {
            Failure::message(Code::Corrupt, format!("{} cannot be read: {error}", path.display()))
        })
    }

    /// The recipe of the run.
    pub fn recipe(&self) -> Outcome<Recipe> {
        let text = std::fs::read_to_string(self.file("recipe.toml"))?;
        Ok(Recipe::parse(&text, &[])?)
    }

    /// Where the pictures of the run come from.
    pub fn source(&self) -> Outcome<Source> {
        Ok(self.facts()?.data.parse().expect("any text is a source"))
    }

    /// Puts the folder's `metrics.json` together from what is there and `new` keys.
    pub fn write_metrics(&self, new: &Value) -> Outcome<Value> {
        let mut metrics = self.read_metrics().unwrap_or_else(|| json!({}));
        if let (Some(all), Some(new)) = (metrics.as_object_mut(), new.as_object()) {
            new.iter().for_each(|(key, value)| _ = all.insert(key.clone(), value.clone()));
        }
        let text = serde_json::to_string_pretty(&metrics).expect("JSON prints");
        write_file(&self.metrics(), text.as_bytes())?;
        Ok(metrics)
    }

    /// The folder's `metrics.json`, if there is a readable one.
    pub fn read_metrics(&self) -> Option<Value> {
        serde_json::from_slice(&std::fs::read(self.metrics()).ok()?).ok()
    }

    /// The lines of `metrics.jsonl`, in order.
    pub fn read_log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Opens the log; lines of steps after `resumed` are dropped, since those steps are done again.
    pub fn log_from(&self, resumed: usize) -> Outcome<Log> {
        let step = |line: &Value| line.get("step").and_then(Value::as_u64).unwrap_or(0);
        let kept: Vec<Value> =
            self.read_log().into_iter().filter(|line| step(line) <= resumed as u64).collect();
        let text: String = kept.iter().map(|line| format!("{line}\n")).collect();
        write_file(&self.log(), text.as_bytes())?;
        let lines = OpenOptions::new().append(true).open(self.log())?;
        Ok(Log { lines: RefCell::new(lines), events: RefCell::new(EventFile::create(&self.path)?) })
    }
}

/// `metrics.jsonl` and the TensorBoard file, written as training goes.
pub struct Log {
    lines: RefCell<std::fs::File>,
    events: RefCell<EventFile>,
}

impl Log {
    /// Writes an event; those that are only for people are passed over.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, event: &Event) -> std::io::Result<()> {
        match event {
            Event::Step(step) => {
                let rate = step.images as f64 / step.seconds;
                let line = json!({
                    "step": step.step, "loss": step.loss, "active": step.active,
                    "learning_rate": step.rate, "images_per_second": rate,
                });
                self.line(&line)?;
                for (tag, value) in
                    [("loss", step.loss), ("active", step.active), ("learning_rate", step.rate)]
                {
                    self.events.borrow_mut().scalar(&format!("train/{tag}"), step.step, f64::from(value))?;
                }
                self.events.borrow_mut().scalar("train/images_per_second", step.step, rate)
            }
            Event::Validated { step, value, best } => {
                self.line(&json!({"step": step, "validation_recall@1": value, "best": best}))?;
                self.events.borrow_mut().scalar("validation/recall@1", *step, *value)
            }
            Event::Note(_) | Event::Resumed { .. } | Event::Cached { .. } => Ok(()),
        }
    }

    fn line(&self, value: &Value) -> std::io::Result<()> {
        writeln!(self.lines.borrow_mut(), "{value}")
    }
}

/// Greatest resident memory of this process so far, bytes; none where the system does not say.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Lets the greatest resident memory be counted from now on, where the system can.
pub fn forget_peak_memory() {
    // A wish: elsewhere the peak is that of all work before, too.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The processor's name, as far as the system says.
pub fn hardware() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}
