//! Indexes of files of vectors: `index build --vectors`, `index eval`, `search --queries`.

use crate::codes::{files, truth};
use crate::common::{bad, deepembed, json};
use crate::words;
use serde_json::json;
use std::fs;

#[test]
fn vectors_are_indexed_measured_and_searched() {
    let files = files();
    let at = |name: &str| files.folder.path().join(name);
    let (index, answers) = (at("index"), at("truth.ivecs"));
    truth(&answers, 10);
    let build =
        words!["index", "build", "--vectors", &files.base, "--spec", "IVF8,SQ8,RFlat", "--out", &index];
    let built = json(build);
    assert_eq!((&built["spec"], &built["rows"]), (&json!("IVF8,SQ8,Refine(Flat)"), &json!(600)));
    let eval = words![
        "index",
        "eval",
        "--index",
        &index,
        "--queries",
        &files.queries,
        "--ground-truth",
        &answers,
        "--probes",
        "1,8",
        "--rerank",
        "2"
    ];
    let measured = json(eval);
    let recall = |i: usize| measured["efforts"][i]["recall"].as_f64().unwrap();
    // All lists and twice as many candidates as answers: what eight bits a value confuse is put right.
    assert_eq!(recall(1), 1.0);
    assert!(recall(0) < 1.0);
    let out = at("found.ivecs");
    let found = json(words![
        "search",
        "--index",
        &index,
        "--queries",
        &files.queries,
        "--probes",
        "8",
        "--out",
        &out
    ]);
    assert_eq!((&found["queries"], &found["lists"]), (&json!(20), &json!(160)));
    assert_eq!(fs::read(&out).unwrap(), fs::read(&answers).unwrap());
    let shown = json(words!["search", "--index", &index, "--queries", &files.queries, "-k", "1"]);
    assert_eq!(shown["answers"].as_array().unwrap().len(), 20);
    let info = json(words!["index", "info", &index]);
    assert_eq!((&info["metric"], &info["model_hash"]), (&json!("l2"), &json!(null)));
}

#[test]
fn what_does_not_go_together_is_refused() {
    let files = files();
    let at = |name: &str| files.folder.path().join(name);
    let index = at("index");
    let build = |spec: &str| {
        words!["index", "build", "--vectors", &files.base, "--spec", spec, "--out", &index]
            .into_iter()
            .collect::<Vec<_>>()
    };
    let refused = deepembed(build("IVF8"));
    assert!(refused.code == 2 && refused.err.contains("IVF8: lists need a code"), "{}", refused.err);
    bad(1, &["600 rows do not fill 900 lists"], build("IVF900,Flat"));
    bad(1, &["16 dimensions do not split into 3 equal parts"], build("PQ3"));
    json(build("SQ8"));
    let search = words!["search", "--index", &index, "--queries", &files.queries, "--probes", "3"];
    bad(1, &["SQ8 reads no probes"], search);
    let pictures = words!["search", "a.png", "--index", &index, "--model", "pixels"];
    bad(1, &["plain vectors"], pictures);
    let truth_of_too_few = at("truth.ivecs");
    truth(&truth_of_too_few, 3);
    let eval = words![
        "index",
        "eval",
        "--index",
        &index,
        "--queries",
        &files.queries,
        "--ground-truth",
        &truth_of_too_few
    ];
    bad(1, &["10 for 20 are needed"], eval);
}
