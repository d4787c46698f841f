//! Indexes that change: `index add`, `remove`, `merge` and `compact`.

use crate::codes::files;
use crate::common::{bad, good, json};
use crate::words;
use serde_json::{Value, json};
use std::fs;

/// The ids that a search for every vector of the base finds first.
fn nearest(index: &std::path::Path, base: &std::path::Path) -> Vec<Value> {
    let found = json(words!["search", "--index", index, "--queries", base, "-k", "1"]);
    found["answers"].as_array().unwrap().iter().map(|answer| answer["hits"][0]["id"].clone()).collect()
}

#[test]
fn rows_come_and_go() {
    let files = files();
    let at = |name: &str| files.folder.path().join(name);
    let (index, other, all) = (at("index"), at("other"), at("all"));
    json(words!["index", "build", "--vectors", &files.base, "--spec", "HNSW16", "--out", &index]);
    let added = json(words!["index", "add", &index, "--vectors", &files.queries]);
    assert_eq!((&added["added"], &added["rows"], &added["generation"]), (&json!(20), &json!(620), &json!(2)));
    assert_eq!(nearest(&index, &files.queries), (600..620).map(|id| json!(id)).collect::<Vec<_>>());
    let removed = json(words!["index", "remove", &index, "--ids", "600,7,9999"]);
    assert_eq!(
        (&removed["removed"], &removed["unknown"], &removed["rows"]),
        (&json!(2), &json!([9999]), &json!(618))
    );
    let after = nearest(&index, &files.queries);
    assert!(after[0] != json!(600) && after[1] == json!(601));
    // Under ids of their own, then again in their own place.
    let ids = at("ids.txt");
    fs::write(&ids, (0..20).map(|id| format!("{}\n", 1000 + id)).collect::<String>()).unwrap();
    let updated =
        json(words!["index", "add", &index, "--vectors", &files.queries, "--ids", &ids, "--update"]);
    assert_eq!((&updated["added"], &updated["replaced"]), (&json!(20), &json!(0)));
    let updated =
        json(words!["index", "add", &index, "--vectors", &files.queries, "--ids", &ids, "--update"]);
    assert_eq!(
        (&updated["added"], &updated["replaced"], &updated["rows"]),
        (&json!(0), &json!(20), &json!(638))
    );
    bad(
        1,
        &["id 1000 is in the index already"],
        words!["index", "add", &index, "--vectors", &files.queries, "--ids", &ids],
    );
    let info = json(words!["index", "info", &index]);
    assert_eq!((&info["rows"], &info["generation"]), (&json!(638), &json!(5)));
    assert_eq!(
        info["segments"].as_array().unwrap().iter().map(|s| s["live"].as_u64().unwrap()).sum::<u64>(),
        638
    );
    let said = good(words!["index", "info", &index]).out;
    assert!(said.contains("segments") && said.contains("HNSW16 of 600 less 1 removed"), "{said}");
    let compact = json(words!["index", "compact", &index]);
    assert_eq!(compact["segments"].as_array().unwrap().len(), 1);
    assert!(compact["bytes"].as_u64() < compact["bytes_before"].as_u64());
    json(words!["index", "verify", &index]);
    // Merging.
    json(words!["index", "build", "--vectors", &files.queries, "--spec", "Flat", "--out", &other]);
    bad(1, &["id 0 is in both"], words!["index", "merge", &index, &other, "--out", &all]);
    json(words!["index", "remove", &index, "--ids", "0,1,2,3,4,5,6,8,9,10,11,12,13,14,15,16,17,18,19"]);
    assert_eq!(json(words!["index", "merge", &index, &other, "--out", &all])["rows"], json!(639));
    json(words!["index", "verify", &all]);
    assert_eq!(nearest(&all, &files.queries), (0..20).map(|id| json!(id)).collect::<Vec<_>>());
}

#[test]
fn changes_that_cannot_be_are_refused() {
    let files = files();
    let at = |name: &str| files.folder.path().join(name);
    let (index, ids) = (at("index"), at("ids.txt"));
    json(words!["index", "build", "--vectors", &files.base, "--spec", "Flat", "--out", &index]);
    fs::write(&ids, "1\n2\n").unwrap();
    let add = |words: Vec<std::ffi::OsString>| {
        let fixed = words!["index", "add", &index, "--vectors", &files.queries];
        fixed.into_iter().chain(words).collect::<Vec<_>>()
    };
    bad(1, &["2 ids for the 20 vectors"], add(vec!["--ids".into(), ids.clone().into()]));
    fs::write(&ids, "1\ntwo\n").unwrap();
    bad(2, &["line 2 is no id", "two"], add(vec!["--ids".into(), ids.clone().into()]));
    bad(2, &["pass 2^64"], add(vec!["--first-id".into(), u64::MAX.to_string().into()]));
    bad(1, &["cannot read", "none.txt"], words!["index", "remove", &index, "--ids", at("none.txt")]);
    fs::write(at("text"), "a text").unwrap();
    bad(4, &["no index file"], words!["index", "remove", at("text"), "--ids", "1"]);
    // Nothing of it changed the file.
    assert_eq!(json(words!["index", "info", &index])["generation"], json!(1));
}
