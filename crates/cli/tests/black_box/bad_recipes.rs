//! Recipes and settings that make no sense, and training that goes wrong.

use crate::common::{SMALL, bad, deepembed, fresh, pictures};
use crate::words;
use image::{Rgb, RgbImage};
use std::ffi::OsString;
use std::fs;
use std::path::Path;

fn arguments(data: &Path, out: &Path, more: &[&str]) -> Vec<OsString> {
    let fixed = words!["train", "metric", "--data", data, "--out", out];
    fixed.into_iter().chain(SMALL.iter().chain(more).map(OsString::from)).collect()
}

#[test]
fn recipes_that_make_no_sense_begin_nothing() {
    let folder = fresh();
    let data = pictures(folder.path(), 12, 2);
    let out = folder.path().join("run");
    let cases: [(&[&str], &[&str]); 12] = [
        (&["-o", "loss.marginn=1"], &["marginn"]),
        (&["-o", "lost.margin=1"], &["lost"]),
        (&["-c", "startre"], &["startre is neither a recipe file nor one of", "quick"]),
        (&["-o", "nonsense"], &["override `nonsense`", "key.sub=value"]),
        (&["-o", "=1"], &["override `=1`"]),
        (&["-o", "schedule.steps.more=1"], &["override `schedule.steps.more=1`"]),
        (&["-o", "schedule.steps=many"], &["steps"]),
        (&["-o", "schedule.steps=0"], &["steps", "at least 1"]),
        (&["-o", "optimiser.rate=-1"], &["optimiser.rate", "above 0"]),
        (&["-o", "input.size=5000"], &["input.size", "between 16 and 1024"]),
        (&["-o", "sampler.classes=99"], &["99 classes", "training split has 7", "sampler.classes"]),
        (&["-o", "sampler.images=1"], &["1 images", "at least 2"]),
    ];
    for (more, words) in cases {
        bad(2, words, arguments(&data, &out, more));
        assert!(!out.exists(), "{more:?}");
    }
    fs::write(folder.path().join("mine.toml"), "[model]\nbackbone = \n").unwrap();
    let mine = folder.path().join("mine.toml");
    bad(2, &["recipe:", "line 2"], arguments(&data, &out, &["-c", mine.to_str().unwrap()]));
    assert!(!out.exists());
}

#[test]
fn a_refused_recipe_leaves_an_older_run_alone() {
    let folder = fresh();
    let data = pictures(folder.path(), 12, 2);
    let out = folder.path().join("run");
    let checkpoint = out.join("checkpoints/step-00000001.safetensors");
    fs::create_dir_all(checkpoint.parent().unwrap()).unwrap();
    fs::write(&checkpoint, "precious").unwrap();
    bad(2, &["sampler.classes"], arguments(&data, &out, &["-o", "sampler.classes=99"]));
    assert_eq!(fs::read_to_string(&checkpoint).unwrap(), "precious");
    assert!(!out.join("recipe.toml").exists());
}

/// The end of a run that diverges, whatever the recipe.
fn diverges(recipe: &str) {
    let folder = fresh();
    let data = pictures(folder.path(), 12, 4);
    let out = folder.path().join("run");
    let more = [
        "-c",
        recipe,
        "-o",
        "optimiser.rate=1e38",
        "-o",
        "optimiser.warmup=0",
        "-o",
        "optimiser.clip=0",
        "-o",
        "schedule.steps=30",
        "-o",
        "schedule.validate_every=30",
    ];
    bad(1, &["at step", "lower optimiser.rate", "1000000"], arguments(&data, &out, &more));
    assert!(!out.join("model.safetensors").exists(), "a diverged run gives no model");
}

#[test]
fn a_head_that_diverges_is_stopped() {
    diverges("quick");
}

#[test]
fn a_network_that_diverges_is_stopped() {
    diverges("scratch");
}

#[test]
fn embeddings_that_are_one_point_are_said() {
    // Pictures of almost one grey, and a rate too small to part them.
    let folder = fresh();
    let data = folder.path().join("grey");
    for picture in 0..24u8 {
        let class = data.join(format!("class{:02}", picture / 2));
        fs::create_dir_all(&class).unwrap();
        let image = RgbImage::from_pixel(32, 32, Rgb([128, 128, 120 + picture % 16]));
        let image = image::imageops::crop_imm(&image, 0, 0, 32, 32 - u32::from(picture / 16)).to_image();
        image.save(class.join(format!("{picture}.png"))).unwrap();
    }
    let out = folder.path().join("run");
    let more = [
        "-c",
        "quick",
        "-o",
        "optimiser.rate=1e-12",
        "-o",
        "schedule.steps=40",
        "-o",
        "augment.colour=0",
        "-o",
        "augment.hue=0",
        "-o",
        "augment.scale=0",
        "-o",
        "augment.shift=0",
        "-o",
        "augment.rotate=0",
        "-o",
        "augment.aspect=0",
        "-o",
        "augment.grey=0",
    ];
    bad(1, &["collapsed to one point at step 20", "optimiser.rate"], arguments(&data, &out, &more));
}

#[test]
fn settings_out_of_range() {
    let folder = fresh();
    let data = pictures(folder.path(), 3, 2);
    let eval = |more: &[&str]| {
        let fixed = words!["eval", "--model", "pixels", "--data", &data];
        fixed.into_iter().chain(more.iter().map(OsString::from)).collect::<Vec<_>>()
    };
    bad(1, &["too few for tiles", "raise the memory"], eval(&["--memory", "0"]));
    // More MiB than bytes can be counted: as much as there can be, not none.
    assert_eq!(deepembed(eval(&["--memory", "17592186044416"])).code, 0);
    for wrong in [&["--threads", "1025"][..], &["--seed", "x"], &["--split", "tset"], &["--nothing"]] {
        let said = deepembed(eval(wrong));
        assert_eq!(said.code, 2, "{}", said.err);
        assert!(said.err.starts_with("error: ") && said.err.contains(wrong[0]), "{}", said.err);
    }
    let said = deepembed(words!["index", "build", "--data", &data, "--spec", "HNSW0", "--out", "x"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("--spec"), "{}", said.err);
}
