//! Small pictures, a small run that tests share, and the program's answers.

use image::{Rgb, RgbImage};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Longest time for one command: far more than any needs, so that a hanging one fails.
const PATIENCE: Duration = Duration::from_secs(240);

/// Side of a picture, pixels.
const SIDE: u32 = 40;

/// Overrides that make any recipe small enough for a test.
pub const SMALL: [&str; 16] = [
    "-o",
    "head.steps=0",
    "-o",
    "schedule.steps=3",
    "-o",
    "schedule.validate_every=3",
    "-o",
    "schedule.checkpoint_every=1",
    "-o",
    "input.size=32",
    "-o",
    "input.train_size=0",
    "-o",
    "sampler.classes=4",
    "-o",
    "sampler.images=2",
];

/// Overrides after [`SMALL`] for a recipe with a head phase.
pub const HEAD: [&str; 2] = ["-o", "head.steps=2"];

/// What the program did.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Path of the program.
pub fn program() -> &'static str {
    env!("CARGO_BIN_EXE_deepembed")
}

/// Runs the program.
pub fn deepembed<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Said {
    let output = assert_cmd::Command::new(program()).args(arguments).timeout(PATIENCE).output();
    let output = output.expect("the program starts");
    let said = Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        err: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    };
    assert!(!said.err.contains("panicked"), "{}", said.err);
    said
}

/// Runs the program, which must succeed.
pub fn good<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Said {
    let said = deepembed(arguments);
    assert_eq!(said.code, 0, "{}", said.err);
    said
}

/// Runs the program with `--json`, which must succeed and print one value.
pub fn json<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> serde_json::Value {
    let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned());
    let said = good(arguments.chain(["--json".into(), "--quiet".into()]));
    assert_eq!(said.err, "", "--quiet says nothing");
    serde_json::from_str(&said.out).expect("--json prints JSON")
}

/// Runs the program, which must end with `code` and one line on stderr that holds all `words`. Gives the line.
pub fn bad<S: AsRef<OsStr>>(code: i32, words: &[&str], arguments: impl IntoIterator<Item = S>) -> String {
    let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned());
    let said = deepembed(arguments.chain(["--quiet".into()]));
    assert_eq!(said.code, code, "{}", said.err);
    one_error(&said.err, words);
    said.err
}

/// Whether stderr is one error line that holds all `words`.
pub fn one_error(err: &str, words: &[&str]) {
    assert!(err.starts_with("error: ") && err.lines().count() == 1, "not one error line: {err}");
    for word in words {
        assert!(err.contains(word), "`{word}` is not in: {err}");
    }
}

/// Picture `number` of class `class`: one of four colours in one of three shapes, somewhat moved and resized.
pub fn picture(class: usize, number: usize) -> RgbImage {
    let colour = [[200, 30, 30], [30, 160, 40], [40, 60, 200], [210, 180, 30]][class % 4];
    let (x, y) = (18 + 2 * (number as i32 % 2), 18 + (number as i32 / 2) * 3);
    let radius = 10 + number as i32 % 3;
    let inside = |dx: i32, dy: i32| match class / 4 % 3 {
        0 => dx * dx + dy * dy <= radius * radius,
        1 => dx.abs() <= radius && dy.abs() <= radius,
        _ => (dx.abs() <= 3 && dy.abs() <= radius) || (dy.abs() <= 3 && dx.abs() <= radius),
    };
    RgbImage::from_fn(SIDE, SIDE, |column, row| {
        if inside(column as i32 - x, row as i32 - y) { Rgb(colour) } else { Rgb([245, 245, 240]) }
    })
}

/// A folder of class folders below `root`: `classes` classes of `each` PNGs.
pub fn pictures(root: &Path, classes: usize, each: usize) -> PathBuf {
    let folder = root.join("pictures");
    for class in 0..classes {
        let class_folder = folder.join(format!("class{class:02}"));
        std::fs::create_dir_all(&class_folder).unwrap();
        for number in 0..each {
            picture(class, number).save(class_folder.join(format!("{number}.png"))).unwrap();
        }
    }
    folder
}

/// A fresh folder, gone when dropped.
pub fn fresh() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Joins fixed words and paths to arguments.
#[macro_export]
macro_rules! words {
    ($($word:expr),* $(,)?) => { vec![$(std::ffi::OsString::from($word)),*] };
}

/// Twelve classes of four pictures and what the demo makes of them; made once, read by many tests.
pub struct Demo {
    pub data: PathBuf,
    pub run: PathBuf,
    pub metrics: serde_json::Value,
}

impl Demo {
    pub fn model(&self) -> PathBuf {
        self.run.join("model.safetensors")
    }

    pub fn index(&self) -> PathBuf {
        self.run.join("index.deepembed")
    }
}

/// The shared demo.
pub fn demo() -> &'static Demo {
    static DEMO: OnceLock<Demo> = OnceLock::new();
    DEMO.get_or_init(|| {
        // Cargo's own folder for tests: statics are never dropped, so a temporary folder would stay behind.
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("black_box");
        let _ = std::fs::remove_dir_all(&root);
        let (data, run) = (pictures(&root, 12, 4), root.join("run"));
        let arguments = crate::words!["demo", "--quick", "--no-serve", "--data", &data, "--out", &run];
        let metrics = json(arguments.into_iter().chain(SMALL.iter().chain(&HEAD).map(Into::into)));
        Demo { data, run, metrics }
    })
}

/// The program in the background, ended with the test.
pub struct Running(pub std::process::Child);

impl Running {
    /// Starts the program with stderr (and nothing else) to read.
    pub fn start<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let mut command = std::process::Command::new(program());
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Self(command.spawn().expect("the program starts"))
    }

    /// Sends Ctrl-C.
    pub fn interrupt(&self) {
        let kill = std::process::Command::new("kill").args(["-INT", &self.0.id().to_string()]).status();
        assert!(kill.expect("kill is there").success());
    }

    /// Waits for the end; gives the exit code.
    pub fn code(&mut self) -> i32 {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.0.try_wait().expect("a child") {
                return status.code().unwrap_or(-1);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the program does not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
