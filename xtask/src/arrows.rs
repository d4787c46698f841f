//! Who may depend on whom: the table of ARCHITECTURE.md, compared with what Cargo says.

use crate::workspace::{cargo, output, root};
use serde_json::Value;
use std::collections::BTreeMap;

/// Every folder with the folders that it may depend on, in any role; there are no other arrows.
const ALLOWED: [(&str, &[&str]); 10] = [
    ("kernels", &[]),
    ("data", &[]),
    ("eval", &["data", "kernels"]),
    ("index", &["data", "kernels", "quant"]),
    ("quant", &["data", "kernels"]),
    ("neural", &["data", "kernels"]),
    ("serve", &["data", "index"]),
    ("cli", &["data", "eval", "index", "kernels", "neural", "quant", "serve"]),
    ("bench", &["data", "eval", "index", "kernels", "neural", "quant", "serve"]),
    ("xtask", &["data", "neural"]),
];

/// Folders whose arrows must be optional: the checks build without them.
const OPTIONAL_ONLY: &str = "xtask";

/// The training framework, and the only folder that may depend on it.
const FRAMEWORK: (&str, &str) = ("burn", "neural");

/// What is wrong in the output of `cargo metadata --no-deps`, a line each.
fn forbidden(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().expect("Cargo lists packages");
    let folder = |path: &str| path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let mut wrong = Vec::new();
    for package in packages {
        let manifest =
            package["manifest_path"].as_str().expect("a package has a manifest").replace('\\', "/");
        let from = folder(manifest.trim_end_matches("/Cargo.toml"));
        let Some(allowed) = allowed.get(from.as_str()) else {
            wrong.push(format!("{from} is not in the table of arrows; decide on its place there"));
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("a package lists dependencies") {
            let name = dependency["name"].as_str().expect("a dependency has a name");
            let is_framework = name == FRAMEWORK.0 || name.starts_with(&format!("{}-", FRAMEWORK.0));
            if is_framework && from != FRAMEWORK.1 {
                wrong.push(format!("{from} -> {name}: only {} may depend on it", FRAMEWORK.1));
            }
            let Some(path) = dependency["path"].as_str() else { continue };
            let to = folder(&path.replace('\\', "/"));
            if !allowed.contains(&to.as_str()) {
                wrong.push(format!("{from} -> {to} is no arrow of the table"));
            } else if from == OPTIONAL_ONLY && dependency["optional"] != true {
                wrong.push(format!("{from} -> {to} must be optional"));
            }
        }
    }
    wrong
}

#[test]
fn the_workspace_has_no_other_arrows() {
    let metadata = ["metadata", "--no-deps", "--format-version", "1"];
    let metadata = output(cargo().args(metadata).current_dir(root())).unwrap();
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    assert!(metadata["packages"].as_array().unwrap().len() > 7, "the whole workspace is listed");
    assert_eq!(forbidden(&metadata), [""; 0]);
}

#[test]
fn other_arrows_are_found() {
    let package = |folder: &str, dependencies: Value| serde_json::json!({"manifest_path": format!("/a/{folder}/Cargo.toml"), "dependencies": dependencies});
    let inside = |to: &str, optional: bool| serde_json::json!({"name": to, "path": format!("/a/{to}"), "optional": optional});
    let outside = |name: &str| serde_json::json!({"name": name, "path": null});
    let metadata = serde_json::json!({"packages": [
        package("serve", [inside("index", false), inside("neural", false), outside("burn-flex")].into()),
        package("neural", [inside("kernels", false), outside("burn"), outside("burnish")].into()),
        package("xtask", [inside("data", false), inside("neural", true)].into()),
        package("gpu", Value::Array(Vec::new())),
    ]});
    let want = [
        "serve -> neural is no arrow of the table",
        "serve -> burn-flex: only neural may depend on it",
        "xtask -> data must be optional",
        "gpu is not in the table of arrows; decide on its place there",
    ];
    assert_eq!(forbidden(&metadata), want);
}
