//! Draws the built-in set: one picture of each emoji by each of four designs.
//!
//! Sources are npm packages of fixed versions. An emoji is in the set when all four designs list the same code
//! points under the same name (`chars.json`): 1,561 emoji. By code points alone there would be 1,594, but of
//! the other 33 the designs disagree on the name, and by name alone 1,563, of which two are hidden entries of
//! other code points. Skin-tone variants drop out because the high-contrast design has none.

use anyhow::{Context, Result, bail, ensure};
use data::{Item, Split, split_classes, write_atomic, write_manifest};
use flate2::{Compression, GzBuilder};
use rayon::prelude::*;
use resvg::{tiny_skia, usvg};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Side of every picture, pixels.
const SIDE: u32 = 64;
/// Seed and shares of the class-disjoint split.
const SEED: u64 = 1;
const SHARES: [f64; 3] = [0.6, 0.1, 0.3];
/// What the packages below hold; another number means that they changed.
const EMOJI: usize = 1561;
/// Largest archive that may be committed, bytes.
const MAX_BYTES: usize = 10_000_000;

/// Texts that go into the archive as they stand.
const NOTICES: [&str; 4] =
    ["LICENCES.md", "LICENCE-Apache-2.0.txt", "LICENCE-CC-BY-4.0.txt", "LICENCE-MIT.txt"];

struct Design {
    package: &'static str,
    version: &'static str,
    folder: &'static str,
    /// The manifest's camera.
    camera: &'static str,
    family: &'static str,
}

const DESIGNS: [Design; 4] = [
    Design {
        package: "@iconify-json/fluent-emoji-flat",
        version: "1.2.6",
        folder: "fluent-flat",
        camera: "Fluent flat",
        family: "fluent",
    },
    Design {
        package: "@iconify-json/fluent-emoji-high-contrast",
        version: "1.2.6",
        folder: "fluent-high-contrast",
        camera: "Fluent high-contrast",
        family: "fluent",
    },
    Design {
        package: "@iconify-json/noto",
        version: "1.2.9",
        folder: "noto",
        camera: "Noto",
        family: "noto",
    },
    Design {
        package: "@iconify-json/twemoji",
        version: "1.2.5",
        folder: "twemoji",
        camera: "Twemoji",
        family: "twemoji",
    },
];

/// Keywords by emoji, and names with groups by emoji.
const KEYWORDS: (&str, &str) = ("emojilib", "4.0.3");
const GROUPS: (&str, &str) = ("unicode-emoji-json", "0.9.0");

/// Draws every picture and writes the archive to `out`; the notices are read from `notices`.
pub fn make(packages: Option<&Path>, notices: &Path, out: &Path) -> Result<()> {
    let installed = match packages {
        Some(folder) => Packages { folder: folder.to_path_buf(), _temporary: None },
        None => install()?,
    };
    let folder = installed.folder.as_path();
    check_versions(folder)?;
    let common = common_emoji(folder)?;
    ensure!(common.len() == EMOJI, "the packages share {} emoji, not {EMOJI}", common.len());
    let words = Words::read(folder)?;
    let mut files = BTreeMap::new();
    let classes: Vec<String> = common.iter().map(|(name, _)| name.clone()).collect();
    let mut items = Vec::new();
    for design in &DESIGNS {
        let icons = json(&folder.join(design.package).join("icons.json"))?;
        // The encoder is slow, so all cores draw; the order stays.
        let pictures: Vec<Vec<u8>> = classes
            .par_iter()
            .map(|name| draw(&icons, name).and_then(|rgb| webp(&rgb)).with_context(|| name.clone()))
            .collect::<Result<_>>()
            .context(design.package)?;
        for (((name, code), label), picture) in common.iter().zip(0..).zip(pictures) {
            let item = item(design, name, label, words.of(code).with_context(|| name.clone())?, &picture);
            files.insert(item.path.clone(), picture);
            items.push(item);
        }
    }
    assign_splits(&mut items, &classes)?;
    let mut manifest = Vec::new();
    write_manifest(&mut manifest, &items, &classes)?;
    files.insert("manifest.csv".to_owned(), manifest);
    for name in NOTICES {
        let path = notices.join(name);
        files.insert(name.to_owned(), fs::read(&path).with_context(|| path.display().to_string())?);
    }
    let archive = pack(&files)?;
    ensure!(archive.len() <= MAX_BYTES, "the archive has {} bytes, more than {MAX_BYTES}", archive.len());
    write_atomic(out, |file| file.write_all(&archive)).with_context(|| out.display().to_string())
}

/// The manifest row of one picture; `words` are its group and text.
fn item(design: &Design, name: &str, label: u32, words: (String, String), picture: &[u8]) -> Item {
    let (category, text) = words;
    Item {
        path: format!("{}/{name}.webp", design.folder),
        label,
        split: Split::Train, // assigned once every picture is known
        is_query: true,
        is_gallery: true,
        category: Some(category),
        camera: Some(design.camera.to_owned()),
        family: Some(design.family.to_owned()),
        text: Some(text),
        hash: Some(blake3::hash(picture).to_hex().to_string()),
    }
}

/// Splits by class; emoji that share a picture (an astronaut and a man astronaut, in Noto) stay together.
fn assign_splits(items: &mut [Item], classes: &[String]) -> Result<()> {
    let mut sharing: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for item in items.iter() {
        sharing.entry(item.hash.as_deref().unwrap_or_default()).or_default().push(item.label);
    }
    let together: Vec<Vec<u32>> = sharing.into_values().filter(|labels| labels.len() > 1).collect();
    let splits = split_classes(classes, &together, SEED, SHARES)?;
    for item in items {
        item.split = splits[item.label as usize];
    }
    Ok(())
}

/// Where the packages lie; a temporary folder goes when this is dropped.
struct Packages {
    folder: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

fn wanted() -> impl Iterator<Item = (&'static str, &'static str)> {
    DESIGNS.iter().map(|design| (design.package, design.version)).chain([KEYWORDS, GROUPS])
}

fn install() -> Result<Packages> {
    let temporary = tempfile::tempdir()?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]).arg(temporary.path());
    npm.args(wanted().map(|(package, version)| format!("{package}@{version}")));
    crate::workspace::run(&mut npm)?;
    Ok(Packages { folder: temporary.path().join("node_modules"), _temporary: Some(temporary) })
}

fn check_versions(folder: &Path) -> Result<()> {
    for (package, version) in wanted() {
        let found = json(&folder.join(package).join("package.json"))?;
        let found = found["version"].as_str().unwrap_or_default();
        ensure!(found == version, "{package} is version `{found}`, the set is made from {version}");
    }
    Ok(())
}

fn json(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&bytes).with_context(|| path.display().to_string())
}

/// Name and code points of every emoji that all designs name alike, sorted by name.
fn common_emoji(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut common: Option<BTreeSet<(String, String)>> = None;
    for design in &DESIGNS {
        let chars = json(&folder.join(design.package).join("chars.json"))?;
        let named: BTreeSet<(String, String)> = chars
            .as_object()
            .with_context(|| format!("{}: chars.json is not an object", design.package))?
            .iter()
            .filter_map(|(code, name)| Some((name.as_str()?.to_owned(), code.clone())))
            .collect();
        common = Some(common.map_or_else(|| named.clone(), |known| &known & &named));
    }
    let common: Vec<(String, String)> = common.unwrap_or_default().into_iter().collect();
    for pair in common.windows(2) {
        ensure!(
            pair[0].0 != pair[1].0,
            "{} stands for two emoji: {} and {}",
            pair[0].0,
            pair[0].1,
            pair[1].1
        );
    }
    Ok(common)
}

/// Names, groups and keywords, by code points.
struct Words {
    groups: HashMap<Vec<u32>, Value>,
    keywords: HashMap<Vec<u32>, Value>,
}

impl Words {
    fn read(folder: &Path) -> Result<Self> {
        let by_code = |path: PathBuf| -> Result<HashMap<Vec<u32>, Value>> {
            let Value::Object(entries) = json(&path)? else { bail!("{} is not an object", path.display()) };
            Ok(entries.into_iter().map(|(emoji, value)| (code_of(&emoji), value)).collect())
        };
        Ok(Self {
            groups: by_code(folder.join(GROUPS.0).join("data-by-emoji.json"))?,
            keywords: by_code(folder.join(KEYWORDS.0).join("dist/emoji-en-US.json"))?,
        })
    }

    /// Group, then name and keywords joined by commas, of the emoji written as `1f468-200d-1f680`.
    fn of(&self, code: &str) -> Result<(String, String)> {
        let code = code
            .split('-')
            .map(|part| u32::from_str_radix(part, 16))
            .filter(|part| *part != Ok(VARIATION))
            .collect::<Result<Vec<u32>, _>>()?;
        let about = self.groups.get(&code).context("not in unicode-emoji-json")?;
        let text = |key: &str| about[key].as_str().map(str::to_owned).with_context(|| format!("no {key}"));
        let mut words = vec![text("name")?];
        for keyword in self.keywords.get(&code).and_then(Value::as_array).into_iter().flatten() {
            let keyword = keyword.as_str().unwrap_or_default().replace('_', " ");
            if !keyword.is_empty() && !words.contains(&keyword) {
                words.push(keyword);
            }
        }
        Ok((text("group")?, words.join(", ")))
    }
}

/// Asks for the coloured form; packages disagree on writing it.
const VARIATION: u32 = 0xfe0f;

fn code_of(emoji: &str) -> Vec<u32> {
    emoji.chars().map(u32::from).filter(|&c| c != VARIATION).collect()
}

/// Draws one icon on white: [`SIDE`] x [`SIDE`] RGB. The few icons that are not square keep their shape and lie
/// in the centre.
fn draw(icons: &Value, name: &str) -> Result<Vec<u8>> {
    let icon = &icons["icons"][name];
    let body = icon["body"].as_str().context("no body")?;
    let side = |key: &str| icon[key].as_f64().or(icons[key].as_f64()).with_context(|| format!("no {key}"));
    let svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{SIDE}" height="{SIDE}" viewBox="0 0 {} {}">{body}</svg>"#,
        side("width")?,
        side("height")?,
    );
    let tree = usvg::Tree::from_str(&svg, &usvg::Options::default())?;
    let mut canvas = tiny_skia::Pixmap::new(SIDE, SIDE).context("no canvas")?;
    canvas.fill(tiny_skia::Color::WHITE);
    resvg::render(&tree, tiny_skia::Transform::identity(), &mut canvas.as_mut());
    // Every pixel is opaque, so premultiplied values are the values.
    Ok(canvas.data().chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect())
}

/// Lossless WebP by libwebp: half the size of what the `image` crate writes, as PNG or as WebP.
fn webp(rgb: &[u8]) -> Result<Vec<u8>> {
    let Ok(mut config) = webp::WebPConfig::new() else { bail!("libwebp has another version") };
    config.lossless = 1;
    config.quality = 100.0;
    config.method = 6;
    match webp::Encoder::from_rgb(rgb, SIDE, SIDE).encode_advanced(&config) {
        Ok(bytes) => Ok(bytes.to_vec()),
        Err(err) => bail!("libwebp: {err:?}"),
    }
}

/// A gzipped tar, names sorted and no times, so that the same pictures give the same bytes. Gzip is for the
/// tar's headers and padding, which would nearly double the archive.
fn pack(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>> {
    let gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    let mut archive = tar::Builder::new(gzip);
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        archive.append_data(&mut header, name, bytes.as_slice())?;
    }
    Ok(archive.into_inner()?.finish()?)
}
