//! What a command says while it works: results on stdout, everything else on stderr.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::{Cell, RefCell};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Time between two lines of progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How a command speaks.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    pub json: bool,
    pub quiet: bool,
}

impl Talk {
    /// A line about what happens, for people.
    pub fn say(self, line: impl AsRef<str>) {
        if !self.quiet {
            // A closed stderr must not end the work.
            let _ = writeln!(std::io::stderr(), "{}", line.as_ref());
        }
    }

    /// The result: `value` with `--json`, else `text`.
    ///
    /// # Errors
    /// When stdout cannot be written, a closed pipe apart.
    pub fn result(self, value: &serde_json::Value, text: impl AsRef<str>) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        let written = if self.json {
            writeln!(out, "{value:#}")
        } else if text.as_ref().is_empty() {
            Ok(())
        } else {
            writeln!(out, "{}", text.as_ref().trim_end())
        };
        match written.and_then(|()| out.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// One line of a dialogue with another program, with or without `--json`.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn line(self, value: &serde_json::Value) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{value}")?;
        out.flush()
    }

    /// Progress of a job of `total` pieces.
    pub fn bar(self, what: &str, total: usize) -> Bar {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            Some(total as u64),
            if self.quiet || !terminal { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() },
        );
        let style = ProgressStyle::with_template("{prefix:28} {bar:30} {pos}/{len}  eta {eta}  {msg}");
        bar.set_style(style.expect("a fixed template").progress_chars("━╸─"));
        bar.set_prefix(what.to_owned());
        let lines = !self.quiet && !terminal;
        Bar {
            talk: self,
            what: what.to_owned(),
            bar,
            start: Instant::now(),
            first: Cell::default(),
            said: RefCell::default(),
            lines,
        }
    }
}

/// A bar on a terminal, a line every few seconds elsewhere.
pub struct Bar {
    talk: Talk,
    what: String,
    bar: ProgressBar,
    start: Instant,
    /// The first position that was set, and when.
    first: Cell<Option<(usize, Instant)>>,
    said: RefCell<Option<Instant>>,
    lines: bool,
}

impl Bar {
    /// `done` pieces of `total` are done; `note` stands beside them.
    pub fn set(&self, done: usize, total: usize, note: &str) {
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
        self.bar.set_message(note.to_owned());
        if self.first.get().is_none() {
            // What was there before, as of a run that goes on, took no time now.
            self.first.set(Some((done, Instant::now())));
            self.bar.reset_eta();
        }
        let due = self.said.borrow().unwrap_or(self.start).elapsed() > LINE_EVERY;
        let (first, at) = self.first.get().unwrap_or((0, self.start));
        if self.lines && due && first < done && done < total {
            let each = at.elapsed().as_secs_f64() / (done - first) as f64;
            let left = each * (total - done) as f64;
            self.talk.say(format!("{}: {done}/{total}, {left:.0} s left {note}", self.what));
            self.said.replace(Some(Instant::now()));
        }
    }

    /// Takes the bar away without a word.
    pub fn clear(self) {
        self.bar.finish_and_clear();
    }

    /// The job is done.
    pub fn finish(self, note: &str) {
        self.bar.finish_and_clear();
        self.talk.say(format!("{:28} {note} ({:.1} s)", self.what, self.start.elapsed().as_secs_f64()));
    }
}
