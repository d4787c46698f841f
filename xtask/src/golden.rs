//! Golden files: numbers that Python wrote and tests compare with. `golden/*.py` write them, and with `--check`
//! derive them again and compare.

use crate::checks::Verdict;
use crate::workspace::{output, root, run};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a script begins a line about what it could not derive here.
const LEFT_OUT: &str = "NOT DERIVED AGAIN: ";

/// Derives every golden file again and compares.
pub fn check() -> Result<Verdict> {
    let python = environment()?;
    let mut left_out = Vec::new();
    for script in scripts()? {
        let said = output(script_command(&python, &script).arg("--check"));
        let said = said.with_context(|| format!("{} --check", script.display()))?;
        print!("{said}");
        left_out.extend(said.lines().filter_map(|line| line.strip_prefix(LEFT_OUT)).map(str::to_owned));
    }
    Ok(if left_out.is_empty() { Verdict::Passed } else { Verdict::Partly(left_out.join("; ")) })
}

/// Writes every golden file anew.
pub fn write() -> Result<()> {
    let python = environment()?;
    for script in scripts()? {
        run(&mut script_command(&python, &script)).with_context(|| script.display().to_string())?;
    }
    Ok(())
}

fn script_command(python: &Path, script: &Path) -> Command {
    let mut command = Command::new(python);
    command.arg(script).current_dir(root());
    command
}

/// The scripts, by name.
fn scripts() -> Result<Vec<PathBuf>> {
    let folder = root().join("golden");
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut scripts = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "py") {
            scripts.push(path);
        }
    }
    scripts.sort_unstable();
    ensure!(!scripts.is_empty(), "{} holds no script", folder.display());
    Ok(scripts)
}

/// A Python of our own in `.venv` with the packages of `golden/requirements.txt`; made once for each wording of
/// that file.
fn environment() -> Result<PathBuf> {
    let folder = root().join(".venv");
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let required = root().join("golden/requirements.txt");
    let wanted = fs::read_to_string(&required).with_context(|| required.display().to_string())?;
    let installed = folder.join("requirements.txt");
    if python.exists() && fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
        return Ok(python);
    }
    if !python.exists() {
        println!("making {}", folder.display());
        let base = if cfg!(windows) { "python" } else { "python3" };
        if run(Command::new(base).args(["-m", "venv"]).arg(&folder)).is_err() {
            bail!("{base} -m venv failed; install Python 3 with its venv module (python3-venv on Debian)");
        }
    }
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    run(Command::new(&python).args(install).arg(&required)).context("installing golden/requirements.txt")?;
    fs::write(&installed, wanted).with_context(|| installed.display().to_string())?;
    Ok(python)
}
