//! `codes train`, `codes encode` and `codes eval`: what they write, what they say, and what they refuse.

use crate::common::{bad, deepembed, fresh, good, json};
use crate::vectors::npy;
use crate::words;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

const DIM: usize = 16;

/// Values that look random, the same each time.
fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..n).map(|_| next()).collect()
}

/// 600 vectors and 20 queries.
pub struct Files {
    pub folder: tempfile::TempDir,
    pub base: PathBuf,
    pub queries: PathBuf,
}

pub fn files() -> Files {
    let folder = fresh();
    let (base, queries) = (folder.path().join("base.npy"), folder.path().join("queries.npy"));
    npy(&base, DIM, &noise(600 * DIM, 1));
    npy(&queries, DIM, &noise(20 * DIM, 2));
    Files { folder, base, queries }
}

/// The right answers, `k` a query, by the definition, as a .ivecs file.
pub fn truth(path: &Path, k: usize) {
    let (base, queries) = (noise(600 * DIM, 1), noise(20 * DIM, 2));
    let mut bytes = Vec::new();
    for query in queries.chunks(DIM) {
        let distance = |row: &[f32]| row.iter().zip(query).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        let mut near: Vec<(f32, i32)> = base.chunks(DIM).map(distance).zip(0..).collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        bytes.extend((k as i32).to_le_bytes());
        near[..k].iter().for_each(|(_, id)| bytes.extend(id.to_le_bytes()));
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_code_is_trained_and_written() {
    let files = files();
    let at = |name: &str| files.folder.path().join(name);
    let mut seen = Vec::new();
    for threads in ["1", "2"] {
        let (code, out) = (at(&format!("{threads}.safetensors")), at(&format!("{threads}.npy")));
        let trained =
            words!["codes", "train", "--base", &files.base, "--spec", "Centre,PQ4x4", "--out", &code];
        let value = json(trained.into_iter().chain(words!["--train", "500", "--threads", threads]));
        let want = json!({"spec": "Centre,PQ4x4", "dim": DIM, "bytes": 2, "trained_on": 500, "seed": 1, "code": code});
        assert_eq!(value, want);
        let encoded = words!["codes", "encode", "--code", &code, "--base", &files.base, "--out", &out];
        let value = json(encoded.into_iter().chain(words!["--threads", threads]));
        assert_eq!(value, json!({"spec": "Centre,PQ4x4", "rows": 600, "bytes": 2, "codes": out}));
        seen.push((fs::read(code).unwrap(), fs::read(out).unwrap()));
    }
    assert!(seen[0] == seen[1], "threads change no byte");
    let info = json(words!["data", "info", at("1.npy")]);
    assert_eq!((&info["rows"], &info["dim"], &info["element"]), (&json!(600), &json!(2), &json!("u8")));
    let some =
        words!["codes", "encode", "--code", at("1.safetensors"), "--base", &files.base, "--out", at("s.npy")];
    assert_eq!(json(some.into_iter().chain(words!["--first", "70"]))["rows"], 70);
    assert!(seen[0].1.ends_with(&fs::read(at("1.npy")).unwrap()[128..]));
    let apart =
        words!["codes", "train", "--base", &files.base, "--learn", &files.queries, "--spec", "RaBitQ"];
    let value = json(apart.into_iter().chain(words!["--out", at("r.safetensors")]));
    assert_eq!((&value["trained_on"], &value["bytes"]), (&json!(20), &json!(64 / 8 + 12)));
}

#[test]
fn codes_are_measured() {
    let files = files();
    let answers = files.folder.path().join("truth.ivecs");
    truth(&answers, 100);
    let words = |more: Vec<std::ffi::OsString>| {
        let start = words!["codes", "eval", "--base", &files.base, "--queries", &files.queries];
        start.into_iter().chain(words!["--spec", "Flat", "--spec", "PQ4x4", "--spec", "RaBitQ4"]).chain(more)
    };
    let given = json(words(words!["--ground-truth", &answers]));
    assert_eq!((&given["rows"], &given["queries"], &given["k"]), (&json!(600), &json!(20), &json!(100)));
    let codes = given["codes"].as_array().unwrap();
    let names: Vec<_> =
        codes.iter().map(|code| (code["spec"].as_str().unwrap(), code["bytes"].clone())).collect();
    assert_eq!(names, [("Flat", json!(64)), ("PQ4x4", json!(2)), ("RaBitQ4", json!(64 / 2 + 20))]);
    for key in ["1-recall@1", "1-recall@10", "1-recall@100", "10-recall@10"] {
        assert_eq!(codes[0][key], 1.0, "the vectors themselves miss nothing: {key}");
        let coarse = codes[1][key].as_f64().unwrap();
        assert!(codes[2][key].as_f64().unwrap() >= coarse && (0.0..=1.0).contains(&coarse), "{key}");
    }
    assert!(codes[1]["1-recall@1"].as_f64() < codes[1]["1-recall@100"].as_f64());
    assert_eq!(codes[0]["distortion"], 0.0);
    // Values are uniform on a range of one: each varies by 1/12 in the square.
    let variance = DIM as f64 / 12.0;
    let error = |i: usize| codes[i]["distortion"].as_f64().unwrap() / variance;
    assert!((0.1..0.8).contains(&error(1)) && error(2) < 0.03, "{} {}", error(1), error(2));
    for key in ["train_seconds", "encode_us", "scan_gcodes_per_second"] {
        assert!(codes.iter().all(|code| code[key].as_f64().unwrap() > 0.0), "{key}");
    }
    let computed = json(words(words![]));
    for (a, b) in codes.iter().zip(computed["codes"].as_array().unwrap()) {
        assert_eq!((&a["10-recall@10"], &a["distortion"]), (&b["10-recall@10"], &b["distortion"]));
    }
    let dot = json(words(words!["--metric", "dot", "--k", "10", "--first", "200"]));
    assert_eq!((&dot["rows"], &dot["codes"][0]["10-recall@10"]), (&json!(200), &json!(1.0)));
    assert!(dot["codes"][0].get("1-recall@100").is_none(), "only ten were looked for");
    let said = good(words(words!["--k", "20"]));
    assert!(said.err.contains("no --ground-truth"), "{}", said.err);
    assert!(said.out.starts_with("spec ") && said.out.lines().count() == 4, "{}", said.out);
}

#[test]
fn what_does_not_fit_is_one_line() {
    let files = files();
    let at = |name: &str| files.folder.path().join(name);
    let train =
        |base: &Path, spec: &str| words!["codes", "train", "--base", base, "--spec", spec, "--out", at("c")];
    let unknown = deepembed(train(&files.base, "QP16"));
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("\"QP16\" names no code; there are Flat"), "{}", unknown.err);
    bad(1, &["PQ5", "16 dimensions do not split into 5"], train(&files.base, "PQ5"));
    bad(1, &["PQ4", "needs at least", "got 20"], train(&files.queries, "PQ4"));
    bad(1, &["no.npy"], train(&at("no.npy"), "PQ4"));
    assert!(!at("c").exists());
    npy(&at("narrow.npy"), 3, &[0.0; 9]);
    let eval = |more: Vec<std::ffi::OsString>| {
        let start = words!["codes", "eval", "--base", &files.base, "--spec", "Flat"];
        start.into_iter().chain(more).collect::<Vec<_>>()
    };
    let narrow = ["narrow.npy has vectors of 3 values", "base.npy of 16"];
    bad(1, &narrow, eval(words!["--queries", at("narrow.npy")]));
    bad(1, &narrow, eval(words!["--queries", &files.queries, "--learn", at("narrow.npy")]));
    truth(&at("truth.ivecs"), 5);
    let beyond = words!["--queries", &files.queries, "--ground-truth", at("truth.ivecs"), "--first", "3"];
    bad(1, &["truth.ivecs: query 0 has vector", "there are 3", "--ground-truth"], eval(beyond));
    let more = words!["--queries", &files.base, "--ground-truth", at("truth.ivecs")];
    bad(1, &["truth.ivecs: answers for 20 queries, there are 600"], eval(more));
    let metric = deepembed(eval(words!["--queries", &files.queries, "--metric", "cosine"]));
    assert!(metric.code == 2 && metric.err.contains("write l2"), "{}", metric.err);
    let five = json(eval(words!["--queries", &files.queries, "--ground-truth", at("truth.ivecs")]));
    assert!(five["codes"][0]["10-recall@10"].is_null(), "five answers a query say nothing of ten");
    let encode = |code: &Path, base: &Path| {
        words!["codes", "encode", "--code", code, "--base", base, "--out", at("o.npy")]
    };
    bad(4, &["base.npy", "codes train"], encode(&files.base, &files.base));
    bad(1, &["none.safetensors"], encode(&at("none.safetensors"), &files.base));
    good(train(&files.base, "Flat"));
    bad(1, &["narrow.npy has vectors of 3 values"], encode(&at("c"), &at("narrow.npy")));
    let mut bytes = fs::read(at("c")).unwrap();
    bytes.truncate(20);
    fs::write(at("c"), bytes).unwrap();
    bad(4, &["codes train"], encode(&at("c"), &files.base));
    assert!(!at("o.npy").exists());
}
