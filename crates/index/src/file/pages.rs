//! The two first pages of a file: which superblock counts.
//!
//! A commit writes the page that does not count, when all it names is on the disk. So one of the two may be torn by a
//! crash, and then a copy of it lies at the end of the file, put there before: the commit is whole. The copy also tells
//! what counts when one of the pages is damaged later. Generations take
//! turns: odd ones lie in the first page, even ones in the second, which holds zeros until there is one.

use super::superblock::Superblock;
use super::{OpenError, PAGE};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// The superblock that counts.
pub(super) struct Head {
    pub(super) superblock: Superblock,
    /// One of the pages is torn, this is the copy at the end of the file: only a file whose hashes are right may be
    /// believed.
    pub(super) copied: bool,
}

/// Where the superblock of a generation lies.
pub(super) fn place_of(generation: u64) -> u64 {
    if generation % 2 == 1 { 0 } else { PAGE as u64 }
}

/// Finds the superblock that counts. `path` only names the file in errors.
///
/// Reads the file rather than a map of it: pages that a commit may write just now must not lie under a slice.
pub(super) fn read(path: &Path, file: &mut File) -> Result<Head, OpenError> {
    let failed = |source| OpenError::Io { path: path.to_path_buf(), source };
    let mut before = None;
    loop {
        if file.metadata().map_err(failed)?.len() < 2 * PAGE as u64 {
            return Err(OpenError::NotAnIndex { path: path.to_path_buf() });
        }
        let pages = [page_at(file, 0).map_err(failed)?, page_at(file, PAGE as u64).map_err(failed)?];
        let head = choose(path, file, &pages);
        // A commit may have come between the two pages: only if they stay as they are, they are wrong.
        if head.is_ok() || before.as_ref() == Some(&pages) {
            return head;
        }
        before = Some(pages);
    }
}

/// The superblock that counts of those in the first two pages.
fn choose(path: &Path, file: &mut File, [first, second]: &[Vec<u8>; 2]) -> Result<Head, OpenError> {
    let failed = |source| OpenError::Io { path: path.to_path_buf(), source };
    // Asked after the pages were read: what they name was there before them.
    let length = file.metadata().map_err(failed)?.len();
    let unused = second.iter().all(|&byte| byte == 0);
    let first = sound(path, first, 1)?;
    let head = match (first, sound(path, second, 0)?) {
        (Ok(a), Ok(b)) if a.generation.abs_diff(b.generation) != 1 => {
            return Err(damaged(path, "its superblocks do not follow each other"));
        }
        (Ok(a), Ok(b)) => Head { superblock: if a.generation > b.generation { a } else { b }, copied: false },
        (Ok(a), Err(_)) if unused && a.generation == 1 => Head { superblock: a, copied: false },
        (Err(error), Err(_)) => return Err(error),
        (Ok(old), Err(error)) | (Err(error), Ok(old)) => {
            // The last page of a file that was appended to is a copy of the superblock that counts, or is about to.
            let copy = length.is_multiple_of(PAGE as u64).then(|| page_at(file, length - PAGE as u64));
            let copy = copy.transpose().map_err(failed)?;
            let copy = copy.and_then(|page| Superblock::decode(path, &page).ok());
            let counts = |copy: &Superblock| {
                let ahead = copy.generation.checked_sub(old.generation);
                copy.length == length
                    && matches!((ahead, length > old.length), (Some(0), false) | (Some(1), true))
            };
            Head { superblock: copy.filter(counts).ok_or(error)?, copied: true }
        }
    };
    let want = head.superblock.length;
    if length < want {
        return Err(OpenError::Length { path: path.to_path_buf(), got: length, want });
    }
    Ok(head)
}

/// A superblock, or why the page holds none; an outer error where a newer program wrote it.
type Sound = Result<Superblock, OpenError>;

/// The superblock in a page for generations that leave `parity` when halved.
fn sound(path: &Path, page: &[u8], parity: u64) -> Result<Sound, OpenError> {
    match Superblock::decode(path, page) {
        Ok(superblock) if superblock.generation % 2 != parity => {
            Ok(Err(damaged(path, "a superblock lies where the other belongs")))
        }
        Err(error @ (OpenError::Version { .. } | OpenError::Features { .. } | OpenError::Spec { .. })) => {
            Err(error)
        }
        other => Ok(other),
    }
}

fn page_at(file: &mut File, start: u64) -> io::Result<Vec<u8>> {
    let mut page = vec![0; PAGE];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut page)?;
    Ok(page)
}

fn damaged(path: &Path, what: &str) -> OpenError {
    OpenError::Damaged { path: path.to_path_buf(), what: what.to_owned() }
}
