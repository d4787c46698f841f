//! What no file of the repository may hold, and what the root of every crate must.

use crate::workspace::root;
use std::fs;
use std::path::Path;

/// Folders under which people and build machines keep their files; a path below one is of no use elsewhere.
const HOMES: [&str; 5] = ["root", "home", "Users", "work", "opt/wheels"];

/// Hosts of package registries, in two parts so that this file does not name them. Which registry serves a
/// package is the affair of who builds.
const REGISTRIES: [(&str, &str); 9] = [
    ("index.crates", "io"),
    ("static.crates", "io"),
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("registry.npmjs", "org"),
    ("registry.yarnpkg", "com"),
    ("deb.debian", "org"),
    ("archive.ubuntu", "com"),
    ("proxy.golang", "org"),
];

/// The only crate, and the only other file, with unsafe code.
const UNSAFE_CRATE: &str = "kernels";
const UNSAFE_FILE: &str = "crates/data/src/mmap.rs";

/// Calls `see` with every file that is not ignored: its path from the root and its bytes.
fn files(see: &mut dyn FnMut(&str, &[u8])) {
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap();
    let ignored: Vec<&str> = ignored.lines().chain([".git"]).map(|line| line.trim_matches('/')).collect();
    walk(&root(), "", &ignored, see);
}

fn walk(folder: &Path, prefix: &str, ignored: &[&str], see: &mut dyn FnMut(&str, &[u8])) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if ignored.iter().any(|pattern| matches(pattern, &name)) {
            continue;
        }
        let path = format!("{prefix}{name}");
        // A link is looked at where it points, if that is in the repository.
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => walk(&entry.path(), &format!("{path}/"), ignored, see),
            kind if kind.is_file() => see(&path, &fs::read(entry.path()).unwrap()),
            _ => (),
        }
    }
}

/// Whether an ignore line of the kinds that we use (a name, or one with a star at an end) covers a name.
fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => name.ends_with(end),
        (_, Some(start)) => name.starts_with(start),
        _ => pattern == name,
    }
}

/// Lines of a text that name a machine's path or a registry's host, by number.
fn named(text: &str) -> Vec<(usize, String)> {
    let homes = HOMES.map(|home| format!("/{home}/"));
    let hosts = REGISTRIES.map(|(host, domain)| format!("{host}.{domain}"));
    let has = |line: &str| {
        let path = |home: &String| {
            // In the middle of a relative path such a name is a folder like any other.
            line.match_indices(home.as_str()).any(|(at, _)| {
                !line[..at].ends_with(|before: char| before.is_alphanumeric() || "-_.})".contains(before))
            })
        };
        homes.iter().any(path) || hosts.iter().any(|host| line.contains(host.as_str()))
    };
    let lines = text.lines().zip(1..).filter(|(line, _)| has(line));
    lines.map(|(line, number)| (number, line.trim().to_owned())).collect()
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    files(&mut |path, bytes| {
        seen += 1;
        // Cargo itself names its registry in the lock file; bytes that are not text name nothing.
        if let Ok(text) = std::str::from_utf8(bytes)
            && path != "Cargo.lock"
        {
            wrong.extend(named(text).into_iter().map(|(line, text)| format!("{path}:{line}: {text}")));
        }
    });
    assert!(seen > 100, "the walk saw {seen} files");
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn named_places_are_found() {
    let (home, host) =
        (format!("/{}/ann/data", HOMES[1]), format!("{}.{}", REGISTRIES[2].0, REGISTRIES[2].1));
    let text = format!("fine\nopen {home}\nsrc{home} is ours\nhttps://{host}/simple\n\"{home}\"\n");
    let lines: Vec<usize> = named(&text).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [2, 4, 5]);
}

#[test]
fn ignored_names_are_passed_over() {
    assert!(matches("target-*", "target-x") && matches("*.tmp", "a.tmp") && matches("target", "target"));
    assert!(!matches("target", "target-x") && !matches("*.tmp", "a.tmpl"));
}

/// What a Markdown text links to or shows, other than addresses and places within itself.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let targets = targets.filter_map(|target| target.split('#').next());
    targets.filter(|target| !target.is_empty() && !target.contains("://")).collect()
}

#[test]
fn links_lead_somewhere() {
    assert_eq!(links("[a](b.md#c) ![d](e/f.png) [g](#h) [i](https://j)"), ["b.md", "e/f.png"]);
    let mut dead = Vec::new();
    files(&mut |path, bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if path.ends_with(".md") {
            let folder = root().join(path).parent().unwrap().to_owned();
            let lost = links(text).into_iter().filter(|target| !folder.join(target).exists());
            dead.extend(lost.map(|target| format!("{path}: {target}")));
        }
    });
    assert_eq!(dead, [""; 0]);
}

#[test]
fn unsafe_code_has_two_homes() {
    let mut roots = 0;
    files(&mut |path, bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let inside = path.starts_with(&format!("crates/{UNSAFE_CRATE}/")) || path == UNSAFE_FILE;
        if !path.ends_with(".rs") || inside {
            return;
        }
        if path.ends_with("src/lib.rs") || path.ends_with("src/main.rs") {
            roots += 1;
            // `deny` rather than `forbid` where one file is let off.
            let level =
                if UNSAFE_FILE.starts_with(path.trim_end_matches("lib.rs")) { "deny" } else { "forbid" };
            assert!(text.contains(&format!("#![{level}(unsafe_code)]")), "{path} must {level} unsafe code");
        }
        let let_off = ["allow", "expect"].map(|level| format!("{level}(unsafe_code"));
        assert!(!let_off.iter().any(|level| text.contains(level.as_str())), "{path} lets unsafe code in");
    });
    assert!(roots > 6, "{roots} crates were looked at");
}
