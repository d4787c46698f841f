//! Runs what the README and the book tell a reader to type.
//!
//! A block fenced as `sh` is run, one fenced as `console` is only shown. The blocks of one page run in order in
//! one new folder, with `deepembed` on the path and `$REPOSITORY` set to the checkout.

use crate::workspace::{programs, root, run as must};
use anyhow::{Context, Result, ensure};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Commands between two fences.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    /// Line of the fence, from 1.
    line: usize,
    text: String,
}

/// Runs every block of every page.
pub fn run() -> Result<()> {
    let built = programs()?.into_iter().find(|program| program.name == "deepembed" && !program.test);
    let program = built.context("Cargo built no deepembed")?.file;
    let path = with_program(program.parent().unwrap_or(&root()))?;
    let mut count = 0;
    for page in pages()? {
        let text = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
        let folder = tempfile::tempdir()?;
        for block in blocks(&text) {
            let place = format!("{}:{}", page.strip_prefix(root()).unwrap_or(&page).display(), block.line);
            let began = Instant::now();
            let mut shell = Command::new("sh");
            shell.args(["-euc", &block.text]).current_dir(folder.path());
            shell.env("PATH", &path).env("REPOSITORY", root());
            must(&mut shell).with_context(|| format!("{place}:\n{}", block.text.trim_end()))?;
            println!("{place}: ok ({:.1} s)", began.elapsed().as_secs_f64());
            count += 1;
        }
    }
    ensure!(count > 0, "no page shows a command in a block fenced as sh");
    Ok(())
}

/// The search path with a folder in front.
fn with_program(folder: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).context("the program's folder has a name that PATH cannot hold")
}

/// The README, then the pages of the book by name.
fn pages() -> Result<Vec<PathBuf>> {
    let folder = root().join("book/src");
    let mut pages = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages.sort_unstable();
    pages.insert(0, root().join("README.md"));
    Ok(pages)
}

/// The blocks of a page that are to be run.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().zip(1..);
    while let Some((fence, line)) = lines.next() {
        if !fence.starts_with("```") {
            continue;
        }
        let body = lines.by_ref().map(|(line, _)| line).take_while(|line| !line.starts_with("```"));
        let text: String = body.map(|line| format!("{line}\n")).collect();
        if fence == "```sh" {
            blocks.push(Block { line, text });
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_fenced_as_sh_are_run() {
        let page =
            "text\n```sh\none\ntwo\n```\n```console\nnever\n```\n\n```toml\n[a]\n```\n```sh\nthree\n```\n";
        let block = |line, text: &str| Block { line, text: text.to_owned() };
        assert_eq!(blocks(page), [block(2, "one\ntwo\n"), block(13, "three\n")]);
    }
}
