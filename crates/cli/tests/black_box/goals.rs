//! Goals in place of knobs: `index plan`, `index tune`, `search --target-recall`, `bench ann`, memory caps, Ctrl-C.

use crate::codes::{files, truth};
use crate::common::{bad, deepembed, good, json, program};
use crate::words;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Vectors that take a while to link: `n x 64` in a `.fvecs` file.
fn many(path: &Path, n: usize) {
    let mut random = kernels::SplitMix64::new(1);
    let mut bytes = Vec::with_capacity(n * (64 + 1) * 4);
    for _ in 0..n {
        bytes.extend(64i32.to_le_bytes());
        (0..64).for_each(|_| bytes.extend((random.unit() as f32).to_le_bytes()));
    }
    fs::write(path, bytes).unwrap();
}

/// Runs the program, whose command line makes no sense to it.
fn usage(word: &str, arguments: Vec<std::ffi::OsString>) {
    let said = deepembed(arguments);
    assert!(said.code == 2 && said.err.contains(word), "{said:?}");
}

#[test]
fn a_goal_becomes_an_index_that_knows_its_curve() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (base, queries, index) = (at("base.fvecs"), at("queries.fvecs"), at("tuned.index"));
    many(&base, 3000);
    many(&queries, 120);
    let tuned = json(words![
        "index",
        "tune",
        "--recall",
        "0.8",
        "--memory",
        "1G",
        "--p95",
        "500ms",
        &base,
        "--queries",
        &queries,
        "-o",
        &index
    ]);
    assert_eq!((&tuned["reached"], &tuned["rows"]), (&json!(true), &json!(3000)));
    assert!(tuned["tuned"]["certificate"]["recall"].as_f64().unwrap() >= 0.8, "{tuned}");
    let text = good(words!["index", "info", &index]).out;
    assert!(text.contains("certificate: with ") && text.contains("Clopper-Pearson"), "{text}");
    let found = at("found.ivecs");
    let said = good(words!["search", &index, &queries, "-k", "10", "--target-recall", "0.8", "-o", &found]);
    assert!(said.err.contains("searching with") && said.out.contains("queries/s"), "{said:?}");
    let searched =
        json(words!["search", &index, &queries, "--target-recall", "0.8", "--ground-truth", &found]);
    assert_eq!(searched["recall"], json!(1.0), "what was found is what is found");
    // No index finds more than all.
    let far = deepembed(words!["search", &index, &queries, "--target-recall", "0.99999999"]);
    assert!(far.code == 3 || far.code == 0, "{}", far.err);
    let soon = words!["index", "tune", "--recall", "0.9", "--p95", "0.001us", &base, "-o", &index];
    bad(3, &["Not reachable; the nearest is", "recall@10", "foretold from a sample"], soon);
    let small = words!["index", "tune", "--recall", "0.9", "--memory", "1M", &base, "-o", &index];
    bad(3, &["Not reachable; the nearest is", "--memory allows"], small);
    usage("no recall", words!["index", "tune", "--recall", "95", &base]);
    let plain = at("plain.index");
    good(words!["index", "build", "--spec", "Flat", &base, "-o", &plain]);
    bad(1, &["was not tuned", "index tune"], words!["search", &plain, &queries, "--target-recall", "0.9"]);
}

#[test]
fn plans_are_told_and_caps_are_kept() {
    let files = files();
    let at = |name: &str| files.folder.path().join(name);
    let plan =
        json(words!["index", "plan", "--spec", "HNSW16", "--spec", "SQ8", "--rows", "1M", "--dim", "128"]);
    let bytes = |i: usize| plan["plans"][i]["plan"]["index_bytes"].as_u64().unwrap();
    // 512 bytes a vector, 32 links and some; a byte a value and an id.
    assert!((645_000_000..652_000_000).contains(&bytes(0)), "{plan}");
    assert!((132_000_000..133_000_000).contains(&bytes(1)), "{plan}");
    let index = at("capped.index");
    let build = |memory: &str, spec: &str| {
        words!["index", "build", &files.base, "--spec", spec, "-o", &index, "--memory", memory]
    };
    let refused = bad(1, &["HNSW16 takes up to", "--memory allows 8.4 MB"], build("8M", "HNSW16"));
    assert!(!index.exists(), "{refused}");
    let said = good(build("1G", "HNSW16"));
    assert!(said.err.contains("plan ") && said.err.contains("in memory while building"), "{}", said.err);
    let plan = words!["index", "plan", "--vectors", &files.base, "--spec", "HNSW16", "--memory", "8M"];
    assert_eq!(deepembed(plan).code, 1);
    usage("no amount of memory", build("lots", "Flat"));
}

#[test]
fn searches_say_what_they_leave_out() {
    let files = files();
    let at = |name: &str| files.folder.path().join(name);
    let index = at("index");
    good(words!["index", "build", &files.base, "--spec", "IVF16,Flat", "-o", &index]);
    let answers = at("truth.ivecs");
    truth(&answers, 10);
    let all = json(words!["search", &index, &files.queries, "--probes", "16", "--ground-truth", &answers]);
    assert_eq!((&all["recall"], &all["full"]), (&json!(1.0), &json!(20)));
    assert!(all["queries_per_second"].as_f64().unwrap() > 0.0);
    // One list of sixteen has no 300 rows.
    let short = json(words!["search", &index, &files.queries, "--probes", "1", "-k", "300"]);
    assert_eq!(short["exhausted"], json!(20));
    assert_eq!(short["answers"][0]["ending"], json!("exhausted"));
    let text = good(words!["search", &index, &files.queries, "--probes", "1", "-k", "300"]).out;
    assert!(text.contains("of 300, exhausted: the rows visited hold no more"), "{text}");
    // More answers than rows: all of them, and a word.
    let most = json(words!["search", &index, &files.queries, "--probes", "16", "-k", "9999"]);
    assert_eq!((most["answers"][0]["hits"].as_array().unwrap().len(), &most["complete"]), (600, &json!(20)));
    let ids = at("ids.txt");
    fs::write(&ids, "7 3\n599 3\n").unwrap();
    let some = json(words!["search", &index, &files.queries, "--filter-ids", &ids]);
    let mut found: Vec<u64> = some["answers"][0]["hits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hit| hit["id"].as_u64().unwrap())
        .collect();
    found.sort_unstable();
    assert_eq!((found, &some["complete"]), (vec![3, 7, 599], &json!(20)));
    fs::write(&ids, "").unwrap();
    let none = json(words!["search", &index, &files.queries, "--filter-ids", &ids, "-o", &at("none.ivecs")]);
    assert_eq!(none["complete"], json!(20));
    assert_eq!(fs::metadata(at("none.ivecs")).unwrap().len(), 20 * (4 + 40), "ten of -1 each");
    fs::write(&ids, "600").unwrap();
    bad(
        1,
        &["no row 600, the highest is 599"],
        words!["search", &index, &files.queries, "--filter-ids", &ids],
    );
    fs::write(&ids, "1 two").unwrap();
    bad(1, &["\"two\" is no row number"], words!["search", &index, &files.queries, "--filter-ids", &ids]);
    bad(1, &["no row -1"], words!["search", &index, &files.queries, "--filter-ids", &at("none.ivecs")]);
    let first = all["answers"][0]["hits"][4]["distance"].as_f64().unwrap();
    let radius = first.to_string();
    let near = json(words!["search", &index, &files.queries, "--probes", "16", "--radius", &radius]);
    assert_eq!(near["answers"][0]["hits"].as_array().unwrap().len(), 5);
    let capped =
        json(words!["search", &index, &files.queries, "--probes", "16", "--radius", &radius, "--cap", "2"]);
    assert_eq!(capped["answers"][0]["ending"], json!("full"));
}

#[test]
fn what_does_not_fit_an_index_is_refused() {
    let files = files();
    let at = |name: &str| files.folder.path().join(name);
    let index = at("index");
    good(words!["index", "build", &files.base, "--spec", "HNSW8", "-o", &index]);
    let search = |more: &[&str]| {
        let words = words!["search", &index, &files.queries];
        words.into_iter().chain(more.iter().map(std::ffi::OsString::from)).collect::<Vec<_>>()
    };
    bad(1, &["compares by l2, not by dot"], search(&["--metric", "dot"]));
    bad(1, &["reads no probes"], search(&["--probes", "3"]));
    bad(2, &["radius is no number"], search(&["--radius", "NaN"]));
    assert_eq!(deepembed(search(&["-k", "0"])).code, 2);
    assert_eq!(deepembed(search(&["--beam", "5", "--target-recall", "0.9"])).code, 2);
    let other = at("other.fvecs");
    many(&other, 3);
    bad(1, &["64", "16"], words!["search", &index, &other]);
    let mut nan = 16i32.to_le_bytes().to_vec();
    (0..16).for_each(|_| nan.extend(f32::NAN.to_le_bytes()));
    let broken = at("nan.fvecs");
    fs::write(&broken, nan).unwrap();
    let said = deepembed(words!["search", &index, &broken]);
    assert!(said.code == 4 || said.code == 1, "{said:?}");
    fs::write(at("empty.fvecs"), "").unwrap();
    let empty = deepembed(words!["index", "build", &at("empty.fvecs"), "-o", &at("no.index")]);
    assert!(empty.code != 0 && !at("no.index").exists(), "{empty:?}");
    bad(2, &["name vectors to search with"], words!["search", &index]);
    bad(2, &["name an index"], words!["search"]);
}

#[test]
#[cfg(unix)]
fn a_disk_that_is_full_leaves_no_file() {
    let files = files();
    let index = files.folder.path().join("index");
    // A limit of the length of files says what a full disk says, to those who ignore the signal that comes with it.
    let line = "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\" 2>&1";
    let build = words![program(), "index", "build", "-q", &files.base, "--spec", "Flat", "-o", &index];
    let said = Command::new("sh").arg("-c").arg(line).args(build).output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert_eq!(said.status.code(), Some(1), "{text}");
    assert!(text.starts_with("error: cannot write ") && text.lines().count() == 1, "{text}");
    assert_eq!(fs::read_dir(files.folder.path()).unwrap().count(), 2, "base and queries alone");
}

#[test]
fn indexes_are_measured_beside_each_other() {
    let files = files();
    let out = files.folder.path().join("curves");
    let measured = json(words![
        "bench",
        "ann",
        "--vectors",
        &files.base,
        "--queries",
        &files.queries,
        "--spec",
        "HNSW8",
        "--spec",
        "IVF8,SQ8,RFlat",
        "--rounds",
        "2",
        "--out",
        &out
    ]);
    for index in measured["indexes"].as_array().unwrap() {
        let points = index["points"].as_array().unwrap();
        assert!(points.last().unwrap()["recall"].as_f64().unwrap() > 0.99, "{index}");
        assert!(points.iter().all(|point| point["queries_per_second"].as_array().unwrap().len() == 2));
        assert!(
            index["build_cpu_seconds"].as_f64().unwrap() >= 0.0
                && index["bytes_a_vector"].as_f64().unwrap() > 64.0
        );
    }
    for key in ["data_hash", "seed", "machine", "date", "command", "rate", "measure"] {
        assert!(!measured["protocol"][key].is_null(), "{key}");
    }
    let written: serde_json::Value =
        serde_json::from_slice(&fs::read(out.join("curves.json")).unwrap()).unwrap();
    assert_eq!(written, measured);
    let chart = fs::read_to_string(out.join("curves.svg")).unwrap();
    assert!(chart.contains("IVF8,SQ8,Refine(Flat)") && chart.contains("recall@10"), "{chart}");
}

#[test]
fn a_harness_is_answered_line_by_line() {
    let files = files();
    let out = files.folder.path().join("ids.ivecs");
    let serve = words!["bench", "serve", "--base", &files.base, "--spec", "IVF8,SQ8,RFlat", "--rerank", "4"];
    let request = |params: serde_json::Value, single: bool| json!({"query": &files.queries, "k": 3, "threads": 1, "single": single, "params": params, "out": &out});
    let all = json!({"probes": 8, "rerank": 10});
    let talk = |lines: String| {
        let asked = assert_cmd::Command::new(program()).args(&serve).arg("-q").write_stdin(lines).output();
        let asked = asked.expect("the program starts");
        let lines = String::from_utf8(asked.stdout).unwrap();
        (lines, String::from_utf8(asked.stderr).unwrap(), asked.status.code())
    };
    let exact = files.folder.path().join("exact.ivecs");
    let flat = files.folder.path().join("flat.index");
    good(words!["index", "build", "-q", &files.base, "--spec", "Flat", "-o", &flat]);
    good(words!["search", &flat, &files.queries, "-k", "3", "-o", &exact]);
    for single in [false, true] {
        let (said, err, code) = talk(format!("{}\n", request(all.clone(), single)));
        let lines: Vec<serde_json::Value> =
            said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.len() == 2 && code == Some(0) && err.is_empty(), "{said} {err}");
        assert!(lines[0]["bytes"].as_u64().unwrap() > 64);
        assert!(lines[0]["sweep"].as_array().unwrap().contains(&json!({"probes": 8, "rerank": 4})));
        assert!(lines[1]["wall_s"].as_f64().unwrap() > 0.0 && lines[1]["cpu_s"].is_number());
        assert_eq!(fs::read(&out).unwrap(), fs::read(&exact).unwrap(), "all lists, ranked again exactly");
    }
    let (_, err, code) = talk(format!("{}\nnonsense\n", request(all, false)));
    assert_eq!(code, Some(1));
    crate::common::one_error(&err, &["request 2", "bench serve --help"]);
}

#[test]
#[cfg(unix)]
fn builds_and_tuning_end_at_once_on_ctrl_c() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (base, index) = (at("base.fvecs"), at("index"));
    many(&base, 60_000);
    let build = |spec: &str| words!["index", "build", &base, "--spec", spec, "-o", &index];
    let tune = words!["index", "tune", "--recall", "0.9", &base, "-o", &index];
    for command in [build("HNSW32_efc800"), build("IVF8192,PQ32"), build("NSG32"), build("SymQG32"), tune] {
        let mut child = Command::new(program())
            .args(command)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(1800));
        assert!(child.try_wait().unwrap().is_none(), "it is still at work");
        let asked = Instant::now();
        let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        assert_eq!(child.wait().unwrap().code(), Some(130));
        // A second by itself; other tests run beside it.
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the vectors alone are left");
    }
}
