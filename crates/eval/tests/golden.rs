//! The metrics agree with scikit-learn, pytorch-metric-learning and plain loops over the definitions;
//! `golden/metrics.py` wrote the files.

use data::{Metric, Rows};
use deepembed_eval::{Options, Task, nmi, retrieval};
use serde_json::Value;

fn cases(name: &str) -> Vec<Value> {
    let path = format!("{}/../../golden/metrics/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let file: Value = serde_json::from_str(&text).unwrap();
    file["cases"].as_array().unwrap().clone()
}

fn numbers<T>(value: &Value, convert: impl Fn(f64) -> T) -> Vec<T> {
    value.as_array().unwrap().iter().map(|number| convert(number.as_f64().unwrap())).collect()
}

#[test]
fn mutual_information_is_that_of_scikit_learn() {
    let cases = cases("nmi");
    assert_eq!(cases.len(), 18);
    for case in cases {
        let classes = numbers(&case["classes"], |class| class as u32);
        let clusters = numbers(&case["clusters"], |cluster| cluster as u32);
        let (got, want) = (nmi(&classes, &clusters), case["nmi"].as_f64().unwrap());
        assert!((got - want).abs() < 1e-9, "{got} is not {want} for {} items", classes.len());
    }
}

#[test]
fn retrieval_is_that_of_the_references() {
    let cases = cases("retrieval");
    assert_eq!(cases.len(), 9);
    for case in cases {
        let rows = numbers(&case["rows"], |value| value as f32);
        let labels = numbers(&case["labels"], |label| label as u32);
        let families = case["families"].as_array().map(|_| numbers(&case["families"], |f| f as u32));
        let (queries, gallery) =
            (numbers(&case["queries"], |i| i as usize), numbers(&case["gallery"], |i| i as usize));
        let task = Task {
            rows: Rows::new(&rows, case["dim"].as_u64().unwrap() as usize).unwrap(),
            metric: if case["metric"] == "l2" { Metric::L2 } else { Metric::Dot },
            labels: &labels,
            families: families.as_deref(),
            queries: &queries,
            gallery: &gallery,
            zero_shot: true,
        };
        let options = Options { clusterings: 0, resamples: 50, ..Options::default() };
        let got = retrieval(&task, &options, &|_, _| ()).unwrap().to_json();
        for (metric, want) in case["want"].as_object().unwrap() {
            let got = got[metric].get("value").unwrap_or(&got[metric]).as_f64().unwrap();
            let want = want.as_f64().unwrap();
            assert!((got - want).abs() < 1e-9, "{}: {metric} is {got}, not {want}", case["name"]);
        }
    }
}
