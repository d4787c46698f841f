//! A peer in a Python process, asked by JSON lines.

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running script of `crates/bench/python`; it ends with this value.
pub struct Peer {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// What the script calls itself, with its version.
    pub name: String,
}

/// What a peer says of its work.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// CPU seconds of the work alone.
    pub cpu_s: f64,
    /// Mean squared error, where the work has one.
    pub error: Option<f64>,
}

#[derive(Deserialize)]
struct Hello {
    name: String,
}

impl Peer {
    /// Starts `script` on `threads` threads.
    pub fn start(python: &Path, script: &str, threads: usize) -> anyhow::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
        let mut process = Command::new(python)
            .arg(&script)
            .env("OMP_NUM_THREADS", threads.to_string())
            .env("OMP_WAIT_POLICY", "passive")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {} {}", python.display(), script.display()))?;
        let requests = process.stdin.take().context("no standard input")?;
        let mut answers = BufReader::new(process.stdout.take().context("no standard output")?);
        let mut line = String::new();
        answers.read_line(&mut line)?;
        let hello: Hello = serde_json::from_str(&line)
            .with_context(|| format!("{} did not start: {line:?}", script.display()))?;
        Ok(Self { process, requests, answers, name: hello.name })
    }

    /// Asks for `request`, an object whose `do` names the work.
    pub fn ask(&mut self, request: &Value) -> anyhow::Result<Answer> {
        writeln!(self.requests, "{request}")?;
        self.requests.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(!line.is_empty(), "{} ended at {request}", self.name);
        serde_json::from_str(&line).with_context(|| format!("{} said {line:?}", self.name))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It has nothing to save.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
