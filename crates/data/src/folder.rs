//! A folder with one folder a class.

use crate::dataset::{Item, Split};
use crate::dataset_error::DatasetError;
use crate::manifest::Manifest;
use std::fs;
use std::path::Path;

/// Extensions taken for pictures, in lower case.
const EXTENSIONS: [&str; 6] = ["jpg", "jpeg", "png", "webp", "gif", "bmp"];

/// Levels of folders followed; deeper means a link that leads back to its parent.
const MAX_DEPTH: usize = 16;

/// What a folder holds.
pub(crate) struct Found {
    pub(crate) manifest: Manifest,
    pub(crate) ignored: usize,
}

/// Lists the pictures below `root`, sorted by path.
pub(crate) fn list(root: &Path) -> Result<Found, DatasetError> {
    let mut pictures = Vec::new();
    let mut ignored = 0;
    let top = walk(root, "", 0, &mut pictures, &mut ignored)?;
    let has_splits = !top.is_empty() && top.iter().all(|name| name.parse::<Split>().is_ok());
    let mut labelled = Vec::with_capacity(pictures.len());
    for path in pictures {
        let mut parts = path.split('/');
        let first = parts.next().unwrap_or_default();
        // Splits were recognised above; a folder of class folders is all for training until it is split.
        let (split, class) = match first.parse::<Split>() {
            Ok(split) if has_splits => (split, parts.next().unwrap_or_default()),
            _ => (Split::Train, first),
        };
        if parts.next().is_none() {
            // Directly in the root, or directly in a split: it has no class.
            ignored += 1;
            continue;
        }
        labelled.push((class.to_owned(), item(path.clone(), split)));
    }
    if labelled.is_empty() {
        return Err(DatasetError::Empty { path: root.display().to_string(), ignored });
    }
    Ok(Found { manifest: Manifest::new(labelled, has_splits), ignored })
}

fn item(path: String, split: Split) -> Item {
    Item {
        path,
        label: 0, // numbered once every class is known
        split,
        is_query: true,
        is_gallery: true,
        category: None,
        camera: None,
        family: None,
        text: None,
        hash: None,
    }
}

/// Adds the pictures below `folder` (named `prefix` from the root) and gives the names of its own folders.
fn walk(
    folder: &Path,
    prefix: &str,
    depth: usize,
    pictures: &mut Vec<String>,
    ignored: &mut usize,
) -> Result<Vec<String>, DatasetError> {
    if depth > MAX_DEPTH {
        return Err(DatasetError::TooDeep { path: folder.display().to_string(), limit: MAX_DEPTH });
    }
    let at = |err| DatasetError::io(folder, err);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(at)? {
        let name = entry.map_err(at)?.file_name();
        let name = name
            .into_string()
            .map_err(|name| DatasetError::NotUtf8 { path: folder.join(name).display().to_string() })?;
        // Hidden files and folders are the system's (thumbnails, version control), not classes.
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort_unstable();
    let mut folders = Vec::new();
    for name in names {
        let path = folder.join(&name);
        let below = format!("{prefix}{name}");
        if fs::metadata(&path).map_err(|err| DatasetError::io(&path, err))?.is_dir() {
            walk(&path, &format!("{below}/"), depth + 1, pictures, ignored)?;
            folders.push(name);
        } else if is_picture(&path) {
            pictures.push(below);
        } else {
            *ignored += 1;
        }
    }
    Ok(folders)
}

fn is_picture(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str()))
}
