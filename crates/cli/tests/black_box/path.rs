//! From own pictures to answers: every command that looks at data, models and indexes.

use crate::common::{bad, demo, fresh, good, json, pictures};
use crate::words;
use serde_json::json;
use std::fs;
use std::path::Path;

#[test]
fn a_check_counts_in_words_and_in_json() {
    let folder = fresh();
    let data = pictures(folder.path(), 12, 4);
    let text = good(words!["data", "check", &data]).out;
    assert!(text.starts_with("pictures: 48 pictures of 12 classes\n"), "{text}");
    assert!(text.contains("note: no splits are stated") && text.ends_with("ok\n"), "{text}");
    let value = json(words!["data", "check", &data]);
    assert_eq!(value["pictures"], 48);
    assert_eq!(value["classes"].as_object().unwrap().len(), 12);
    assert_eq!(value["classes"]["class03"], 4);
    for empty in ["unreadable", "duplicates", "leaks", "lonely"] {
        assert_eq!(value[empty], json!([]), "{empty}");
    }
}

#[test]
fn an_import_fixes_the_splits_once() {
    let folder = fresh();
    let data = pictures(folder.path(), 12, 4);
    let to = folder.path().join("imported");
    let value = json(words!["data", "import", &data, &to, "--split", "0.5,0.25,0.25"]);
    assert_eq!((&value["pictures"], &value["classes"]), (&json!(48), &json!(12)));
    let hash = value["manifest_hash"].as_str().unwrap().to_owned();
    assert_eq!(hash.len(), 64);
    let checked = json(words!["data", "check", &to]);
    let splits: Vec<_> =
        checked["splits"].as_array().unwrap().iter().map(|s| (&s["split"], &s["classes"])).collect();
    let want = [(&json!("train"), &json!(6)), (&json!("validation"), &json!(3)), (&json!("test"), &json!(3))];
    assert_eq!(splits, want);
    let manifest = fs::read_to_string(to.join("manifest.csv")).unwrap();
    bad(1, &["manifest.csv exists already", "another folder"], words!["data", "import", &data, &to]);
    assert_eq!(fs::read_to_string(to.join("manifest.csv")).unwrap(), manifest);

    let copied = folder.path().join("copied");
    good(words!["data", "import", &data, &copied, "--copy"]);
    fs::remove_dir_all(&data).unwrap();
    assert_eq!(json(words!["data", "check", &copied])["pictures"], 48, "the copies stand alone");
}

#[test]
fn the_shares_of_a_split_must_be_shares() {
    let folder = fresh();
    let data = pictures(folder.path(), 3, 2);
    let to = folder.path().join("to");
    bad(1, &["split shares", "sum to 1"], words!["data", "import", &data, &to, "--split", "0.9,0.9,0.9"]);
    assert!(!to.exists());
}

#[test]
fn an_evaluation_repeats_the_runs_numbers() {
    let demo = demo();
    let manifest = demo.run.join("manifest.csv");
    let value = json(words!["eval", "--data", &manifest, "--model", demo.model()]);
    for key in ["protocol", "recall@1", "recall@2", "recall@4", "recall@8", "map@r", "r_precision", "nmi"] {
        let want = if key == "protocol" { &demo.metrics[key] } else { &demo.metrics["test"][key] };
        assert_eq!(&value[key], want, "{key}");
    }
    assert_eq!(value["split"], "test");
    let text = good(words!["eval", "--data", &demo.data, "--model", "pixels"]).out;
    assert!(text.contains("protocol") && text.contains("recall@1"), "{text}");
}

/// Little-endian f32 values.
fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn vectors_can_be_read_back_from_both_formats() {
    let folder = fresh();
    let data = pictures(folder.path(), 3, 2);
    let (npy, fvecs) = (folder.path().join("a.npy"), folder.path().join("deep/er/b.fvecs"));
    let value = json(words!["embed", "--data", &data, "--out", &npy]);
    assert_eq!((&value["rows"], &value["dim"]), (&json!(6), &json!(1280)));
    good(words!["embed", "--data", &data, "--out", &fvecs, "--threads", "1"]);

    let bytes = fs::read(&npy).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(String::from_utf8_lossy(&bytes[..header]).contains("(6, 1280)"));
    let rows = floats(&bytes[header..]);
    assert_eq!(rows.len(), 6 * 1280);
    for row in rows.chunks(1280) {
        let length: f32 = row.iter().map(|v| v * v).sum();
        assert!((length - 1.0).abs() < 1e-4, "rows have unit length: {length}");
    }
    let mut same = Vec::new();
    for row in fs::read(&fvecs).unwrap().chunks(4 + 4 * 1280) {
        assert_eq!(row[..4], 1280u32.to_le_bytes());
        same.extend(floats(&row[4..]));
    }
    assert_eq!(same, rows);

    let names = fs::read_to_string(npy.with_extension("csv")).unwrap();
    assert_eq!(names.lines().count(), 7);
    assert!(names.lines().nth(3).unwrap().starts_with("pictures/class01/0.png,class01,"), "{names}");
}

#[test]
fn row_names_never_replace_the_data() {
    let folder = fresh();
    let data = pictures(folder.path(), 3, 2);
    let list = folder.path().join("list.csv");
    let rows: String = (0..3)
        .flat_map(|class| (0..2).map(move |n| format!("pictures/class{class:02}/{n}.png,c{class},mine\n")))
        .collect();
    let text = format!("path,label,note\n{rows}");
    fs::write(&list, &text).unwrap();
    let over = folder.path().join("list.npy");
    let arguments = words!["embed", "--data", &list, "--model", "pixels", "--out", &over];
    bad(2, &["list.csv", "--out"], arguments);
    assert_eq!(fs::read_to_string(&list).unwrap(), text);
    assert!(!over.exists());

    fs::rename(&list, folder.path().join("manifest.csv")).unwrap();
    let over = folder.path().join("manifest.fvecs");
    bad(2, &["manifest.csv"], words!["embed", "--data", folder.path(), "--model", "pixels", "--out", &over]);
    assert_eq!(fs::read_to_string(folder.path().join("manifest.csv")).unwrap(), text);
    assert!(data.is_dir());
}

#[test]
fn other_vector_formats_are_refused_before_any_work() {
    let words = words!["embed", "--data", "nowhere", "--out", "vectors.h5"];
    bad(2, &["vectors.h5", ".npy, .fvecs"], words);
}

#[test]
fn an_index_is_built_described_verified_and_finds_the_picture_itself() {
    let demo = demo();
    let folder = fresh();
    for (name, spec) in [("flat.index", "Flat"), ("graph.index", "HNSW8_efc100")] {
        let index = folder.path().join(name);
        let built = json(words![
            "index",
            "build",
            "--data",
            &demo.data,
            "--model",
            demo.model(),
            "--spec",
            spec,
            "--out",
            &index
        ]);
        assert_eq!((&built["rows"], &built["dim"], &built["spec"]), (&json!(48), &json!(128), &json!(spec)));
        let info = json(words!["index", "info", &index]);
        assert_eq!(info["model_hash"], built["model_hash"]);
        assert_eq!((&info["rows"], &info["metric"]), (&json!(48), &json!("dot")));
        assert!(good(words!["index", "info", &index]).out.contains(&format!("spec          {spec}")));
        let verified = json(words!["index", "verify", &index]);
        assert_eq!(verified["bytes"].as_u64().unwrap(), fs::metadata(&index).unwrap().len());

        let picture = demo.data.join("class05/2.png");
        let model = demo.model();
        let search = words!["search", &picture, "--index", &index, "--model", &model, "-k", "4"];
        let answers = json(search.clone());
        let hits = answers["answers"][0]["hits"].as_array().unwrap();
        assert_eq!(hits.len(), 4);
        assert_eq!(hits[0]["record"]["path"], "class05/2.png");
        assert!(hits[0]["score"].as_f64().unwrap() > 0.999);
        let text = good(search).out;
        assert!(text.lines().nth(1).unwrap().ends_with("class05/2.png"), "{text}");
    }
}

#[test]
fn a_search_gives_no_more_than_there_is_and_knows_its_knobs() {
    let demo = demo();
    let folder = fresh();
    let index = folder.path().join("flat.index");
    good(words![
        "index", "build", "--data", &demo.data, "--model", "pixels", "--spec", "Flat", "--out", &index
    ]);
    let picture = demo.data.join("class00/0.png");
    let search = words!["search", &picture, &picture, "--index", &index, "--model", "pixels", "-k", "1000"];
    let answers = json(search.clone());
    assert_eq!(answers["answers"].as_array().unwrap().len(), 2);
    assert_eq!(answers["answers"][1]["hits"].as_array().unwrap().len(), 48);
    let with_beam = search.into_iter().chain(words!["--beam", "50"]);
    bad(1, &["Flat", "beam"], with_beam);
    let lost = words!["search", "lost.png", "--index", &index, "--model", "pixels"];
    bad(1, &["lost.png"], lost);
}

#[test]
fn a_report_is_written_anew_with_the_same_numbers() {
    // A run of its own: other tests read the shared one.
    let demo = demo();
    let folder = fresh();
    for file in ["run.json", "recipe.toml", "model.safetensors", "metrics.json", "metrics.jsonl"] {
        fs::copy(demo.run.join(file), folder.path().join(file)).unwrap();
    }
    let said = good(words!["report", folder.path(), "--json"]);
    let metrics: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert!(!said.err.contains("differ"), "{}", said.err);
    for key in ["protocol", "seed", "test", "baseline", "index", "train"] {
        assert_eq!(metrics[key], demo.metrics[key], "{key}");
    }
    let html = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(html.contains("<html") && html.contains("recall"));
}

#[test]
fn a_report_of_changed_pictures_is_refused() {
    let demo = demo();
    let folder = fresh();
    let data = pictures(folder.path(), 12, 4);
    for file in ["recipe.toml", "model.safetensors", "metrics.json"] {
        fs::copy(demo.run.join(file), folder.path().join(file)).unwrap();
    }
    let facts = fs::read_to_string(demo.run.join("run.json")).unwrap();
    let facts = facts.replace(demo.data.to_str().unwrap(), data.to_str().unwrap());
    fs::write(folder.path().join("run.json"), facts).unwrap();
    fs::copy(data.join("class00/0.png"), data.join("class11/9.png")).unwrap();
    bad(1, &["changed since the run"], words!["report", folder.path()]);
    assert!(!folder.path().join("report.html").exists());
    bad(2, &["is not a run folder"], words!["report", &data]);
}

#[test]
fn a_model_says_what_it_is() {
    let demo = demo();
    let value = json(words!["model", "info", demo.model()]);
    assert_eq!((&value["contract"]["dim"], &value["contract"]["normalised"]), (&json!(128), &json!(true)));
    assert_eq!(value["contract"]["metrics"]["test"], demo.metrics["test"]);
    let index = json(words!["index", "info", demo.index()]);
    assert_eq!(value["model_hash"], index["model_hash"]);
    let text = good(words!["model", "info", &demo.run]).out;
    assert!(text.contains("32 x 32") && text.contains("licence"), "{text}");
    assert_eq!(json(words!["model", "info", "starter"])["contract"]["dim"], 1280);
    assert_eq!(json(words!["model", "info", "pixels"])["contract"]["dim"], 256);
}

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = good(words!["completions", shell]).out;
        for command in
            ["demo", "data", "train", "embed", "eval", "index", "search", "report", "serve", "model"]
        {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let script = fresh();
    let path = script.path().join("completions");
    fs::write(&path, good(words!["completions", "bash"]).out).unwrap();
    if Path::new("/bin/bash").exists() {
        let parsed = std::process::Command::new("/bin/bash").arg("-n").arg(&path).status().unwrap();
        assert!(parsed.success(), "bash reads its script");
    }
}
