//! Models and indexes that are damaged, foreign or of one another; disks that are full and pipes that are closed.

use crate::common::{bad, deepembed, demo, fresh, good, one_error, pictures, program};
use crate::words;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Every command that opens a model must refuse `file`.
fn no_model(code: i32, words: &[&str], file: &Path) {
    let demo = demo();
    let folder = fresh();
    let out = folder.path().join("out.npy");
    bad(code, words, words!["model", "info", file]);
    bad(code, words, words!["eval", "--data", &demo.data, "--model", file]);
    bad(code, words, words!["embed", "--data", &demo.data, "--model", file, "--out", &out]);
    let picture = demo.data.join("class00/0.png");
    bad(code, words, words!["search", &picture, "--index", demo.index(), "--model", file]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn models_that_are_none() {
    let folder = fresh();
    let file = folder.path().join("model.safetensors");
    let whole = fs::read(demo().model()).unwrap();
    no_model(1, &["model.safetensors", "No such file"], &file);
    fs::write(&file, "a text").unwrap();
    no_model(4, &["model.safetensors"], &file);
    fs::write(&file, &whole[..whole.len() - 1000]).unwrap();
    no_model(4, &["model.safetensors"], &file);
    let mut huge = whole.clone();
    huge[..8].fill(0xff);
    fs::write(&file, huge).unwrap();
    no_model(4, &["model.safetensors"], &file);
    let mut damaged = whole.clone();
    let at = damaged.len() - 400;
    damaged[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&file, damaged).unwrap();
    no_model(4, &["model.safetensors", "not finite"], &file);
    let foreign =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../neural/weights/efficientnet-lite0.safetensors");
    no_model(4, &["efficientnet-lite0.safetensors", "was not made by `deepembed train`"], &foreign);
}

#[test]
fn a_contract_that_lies_is_refused() {
    let folder = fresh();
    let file = folder.path().join("model.safetensors");
    let whole = fs::read(demo().model()).unwrap();
    let length = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&whole[8..8 + length]).unwrap();
    for (from, to, words) in [
        (r#"\"dim\":128"#, r#"\"dim\":129"#, "embed"),
        (r#"\"dim\":128"#, r#"\"dim\":0"#, ""),
        (r#"\"size\":32"#, r#"\"size\":0"#, "contract"),
        (r#"\"size\":32"#, r#"\"size\":4000000000"#, "contract"),
        ("efficientnet-lite0", "efficientnet-lite9", "efficientnet-lite9"),
    ] {
        assert!(header.contains(from), "{from} in {header}");
        let header = header.replacen(from, to, 1);
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(&whole[8 + length..]);
        fs::write(&file, bytes).unwrap();
        no_model(4, &["model.safetensors", words], &file);
    }
}

#[test]
fn indexes_that_are_none() {
    let demo = demo();
    let folder = fresh();
    let file = folder.path().join("some.index");
    let whole = fs::read(demo.index()).unwrap();
    let picture = demo.data.join("class00/0.png");
    let check = |code: i32, words: &[&str]| {
        bad(code, words, words!["index", "info", &file]);
        bad(code, words, words!["index", "verify", &file]);
        bad(code, words, words!["search", &picture, "--index", &file, "--model", demo.model()]);
        bad(code, words, words!["serve", "--index", &file, "--model", demo.model(), "--port", "0"]);
    };
    check(1, &["some.index", "cannot read"]);
    fs::write(&file, "a text").unwrap();
    check(4, &["some.index", "no index file"]);
    fs::write(&file, b"").unwrap();
    check(4, &["some.index", "no index file"]);
    fs::write(&file, &whole[..whole.len() - 100]).unwrap();
    check(4, &["some.index", "copy it again"]);
    // A byte anywhere: the whole check finds it.
    for at in [100, whole.len() / 3, whole.len() / 2, whole.len() - 50] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&file, damaged).unwrap();
        let said = deepembed(words!["index", "verify", &file, "--quiet"]);
        assert_eq!(said.code, 4, "byte {at}: {}{}", said.out, said.err);
        one_error(&said.err, &["some.index"]);
    }
}

#[test]
fn an_index_answers_only_its_own_model() {
    let demo = demo();
    let hash = |model: &Path| {
        let value = crate::common::json(words!["model", "info", model]);
        value["model_hash"].as_str().unwrap().to_owned()
    };
    let (ours, other) = (hash(&demo.model()), hash(Path::new("starter")));
    let picture = demo.data.join("class00/0.png");
    let both = [ours.as_str(), other.as_str(), "build the index again"];
    bad(1, &both, words!["search", &picture, "--index", demo.index(), "--model", "starter"]);
    bad(1, &both, words!["serve", "--index", demo.index(), "--model", "starter", "--port", "0"]);
}

/// Runs the program on a disk of 64 KiB in a namespace of its own; none where the system forbids that.
#[cfg(target_os = "linux")]
fn on_a_small_disk(disk: &Path, arguments: &[std::ffi::OsString]) -> Option<std::process::Output> {
    const SCRIPT: &str = r#"disk=$1; shift
        mount -t tmpfs -o size=64k tmpfs "$disk" || exit 99
        "$@"; code=$?
        find "$disk" -type f
        exit $code"#;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"]);
    let output = command.arg(disk).arg(program()).args(arguments).output().ok()?;
    let forbidden = output.status.code() == Some(99) || output.stderr.starts_with(b"unshare:");
    (!forbidden).then_some(output)
}

#[cfg(target_os = "linux")]
#[expect(clippy::print_stdout, reason = "what a test passes over is said loudly")]
#[test]
fn a_full_disk_leaves_nothing_half_written() {
    let demo = demo();
    let folder = fresh();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let vectors = words!["embed", "--quiet", "--data", &demo.data, "--out", disk.join("v.npy")];
    let index = words!["index", "build", "--quiet", "--data", &demo.data, "--out", disk.join("i.index")];
    let copies = words!["data", "import", "--copy", "--quiet", &demo.data, disk.join("copies")];
    for (arguments, leftover) in [(vectors, ""), (index, ""), (copies, "pictures/")] {
        let Some(output) = on_a_small_disk(&disk, &arguments) else {
            // No assertion can stand in: say loudly that nothing was tested.
            println!("SKIPPED: this system lets no test mount a small disk");
            return;
        };
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {err}");
        one_error(&err, &["disk/", "No space left on device"]);
        let whole = |line: &str| !leftover.is_empty() && line.contains(leftover);
        assert!(out.lines().all(whole), "left behind: {out}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn results_that_cannot_be_written_are_an_error() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(program());
    let output =
        command.args(["model", "info", "pixels"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    one_error(&String::from_utf8_lossy(&output.stderr), &["No space left on device"]);
}

#[cfg(unix)]
#[test]
fn devices_are_not_replaced_by_files() {
    use std::os::unix::fs::FileTypeExt;
    let demo = demo();
    let folder = fresh();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let arguments = words!["index", "build", "--data", &demo.data, "--model", "pixels", "--out", &pipe];
    bad(1, &["pipe", "not a plain file"], arguments);
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_panic() {
    let folder = fresh();
    let data = pictures(folder.path(), 12, 2);
    let data = data.to_str().unwrap();
    for arguments in [
        &["data", "check", data][..],
        &["data", "check", data, "--json"],
        &["completions", "bash"],
        &["--help"],
    ] {
        let mut command = Command::new(program());
        let mut child =
            command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(!err.contains("panicked") && output.status.code() == Some(0), "{arguments:?}: {err}");
    }
}

#[test]
fn a_file_in_the_way_of_a_folder_is_named() {
    let demo = demo();
    let folder = fresh();
    let taken = folder.path().join("taken");
    fs::write(&taken, "mine").unwrap();
    let vectors = taken.join("v.npy");
    bad(1, &["taken"], words!["embed", "--data", &demo.data, "--model", "pixels", "--out", &vectors]);
    bad(
        1,
        &["taken"],
        words!["train", "metric", "--data", &demo.data, "-o", "sampler.classes=4", "--out", &taken],
    );
    assert_eq!(fs::read_to_string(&taken).unwrap(), "mine");
    good(words!["data", "check", &demo.data]);
}
