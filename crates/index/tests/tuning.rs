//! From a goal to an index that reaches it.

mod common;

use common::{clustered, provenance};
use data::{Metric, Rows};
use deepembed_index::tune::{Goal, Machine, RISK, Task, TuneError, Tuned, tune};
use deepembed_index::{BuildError, Request, Spec, Watch, Writer, open, save_tuned};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};

const DIM: usize = 16;
const MACHINE: Machine = Machine { threads: 2, multiply: 2e-11, near: 1e-10, miss: 5e-8, stream: 1e-10 };

fn goal(recall: f64) -> Goal {
    Goal { k: NonZeroUsize::new(10).unwrap(), recall, memory: None, p95: None }
}

fn task<'a>(
    rows: Rows<'a, f32>,
    queries: Option<Rows<'a, f32>>,
    goal: Goal,
    watch: &'a Watch<'a>,
) -> Task<'a> {
    Task {
        rows,
        metric: Metric::L2,
        queries,
        goal,
        seed: 1,
        machine: &MACHINE,
        measured_on: "a test",
        tell: &|_| {},
        watch,
    }
}

#[test]
fn a_goal_is_reached_verified_and_kept_in_the_file() {
    let values = clustered(4000, DIM, 20, 1);
    let asked = clustered(200, DIM, 20, 2);
    let rows = Rows::new(&values, DIM).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let watch = Watch::none();
    for queries in [Some(Rows::new(&asked, DIM).unwrap()), None] {
        let reached = tune(&task(rows, queries, goal(0.9), &watch)).unwrap();
        assert_eq!(reached.index.len(), 4000, "all rows, those that were queries too");
        let Tuned { k, curve, certificate } = &reached.tuned;
        let certificate = certificate.as_ref().unwrap();
        assert!(*k == 10 && certificate.recall >= 0.9 && certificate.at_least < certificate.recall + 0.05);
        assert!(certificate.risk <= RISK && certificate.queries == if queries.is_some() { 100 } else { 200 });
        assert!(curve.iter().any(|point| point.effort == certificate.effort));
        assert!(
            curve
                .windows(2)
                .all(|pair| pair[0].recall < pair[1].recall && pair[0].seconds <= pair[1].seconds)
        );
        assert!(reached.tried.len() >= 3);
        let path = folder.path().join("tuned.index");
        let keep = provenance(DIM);
        save_tuned(&path, &*reached.index, &keep, b"kept", Some(&reached.tuned), &AtomicBool::new(false))
            .unwrap();
        let opened = open(&path).unwrap();
        assert_eq!(opened.tuned().unwrap().as_ref(), Some(&reached.tuned));
        assert_eq!(opened.payload().unwrap(), b"kept");
        let point = reached.tuned.point(0.9).unwrap();
        let mut hits = data::Hits::default();
        let request = Request { effort: point.effort, ..Request::top(goal(0.9).k) };
        opened.index.search(rows.slice(0..5), &request, &mut hits).unwrap();
        assert_eq!(hits.iter().next().unwrap()[0].id, 0);
        deepembed_index::verify(&path).unwrap();
        drop(opened);
        // What was measured holds for those rows alone.
        let mut writer = Writer::open(&path).unwrap();
        assert!(writer.remove(&[3]).is_empty());
        writer.commit(&watch).unwrap();
        let opened = open(&path).unwrap();
        assert_eq!(opened.tuned().unwrap(), None);
        assert_eq!(opened.payload().unwrap(), b"kept");
        deepembed_index::verify(&path).unwrap();
    }
}

#[test]
fn what_cannot_be_reached_is_told_with_what_comes_nearest() {
    let values = clustered(1500, DIM, 20, 1);
    let rows = Rows::new(&values, DIM).unwrap();
    let watch = Watch::none();
    let given = (values.len() * 4) as u64;
    let run = |goal| tune(&task(rows, None, goal, &watch)).err().unwrap();
    let soon = run(Goal { p95: Some(1e-9), ..goal(0.9) });
    let TuneError::Unreachable { recall, p95_ms, on_all_rows, .. } = &soon else { panic!("{soon}") };
    assert!(*recall > 0.0 && *p95_ms > 1e-6 && !on_all_rows, "{soon}");
    assert!(soon.to_string().starts_with("not reachable; the nearest is "), "{soon}");
    let small = run(Goal { memory: Some(given), ..goal(0.9) });
    let TuneError::Memory { need, .. } = &small else { panic!("{small}") };
    assert!(*need > given);
    assert!(matches!(run(goal(1.5)), TuneError::Recall(_)));
    assert!(matches!(run(goal(f64::NAN)), TuneError::Recall(_)));
    let many = Goal { k: NonZeroUsize::new(1500).unwrap(), ..goal(0.9) };
    assert!(matches!(run(many), TuneError::Answers { k: 1500, rows: 1500 }));
    let few = tune(&task(rows.slice(0..200), None, goal(0.9), &watch)).err().unwrap();
    assert!(matches!(few, TuneError::FewQueries { got: 20 }));
    let wrong = tune(&task(rows, Rows::new(&values[..90], 3).ok(), goal(0.9), &watch)).err().unwrap();
    assert_eq!(wrong, TuneError::Dim { got: 3, want: DIM });
    let mut asked = values[..DIM * 60].to_vec();
    asked[17] = f32::NAN;
    let wrong = tune(&task(rows, Rows::new(&asked, DIM).ok(), goal(0.9), &watch)).err().unwrap();
    assert_eq!(wrong, TuneError::NotFinite(1));
}

#[test]
fn tuning_ends_when_it_is_stopped() {
    let values = clustered(1500, DIM, 20, 1);
    let rows = Rows::new(&values, DIM).unwrap();
    for line in 0..8 {
        let (stop, said) = (AtomicBool::new(false), std::sync::atomic::AtomicUsize::new(0));
        let tell = |_: &str| {
            if said.fetch_add(1, Ordering::Relaxed) == line {
                stop.store(true, Ordering::Relaxed);
            }
        };
        let watch = Watch { stop: &stop, progress: &|_, _, _| {} };
        let task = Task { tell: &tell, ..task(rows, None, goal(0.8), &watch) };
        let stopped = tune(&task).err();
        assert_eq!(stopped, Some(TuneError::Build(BuildError::Cancelled)), "at line {line}");
        assert_eq!(said.into_inner(), line + 1);
    }
}

#[test]
fn a_stopped_save_leaves_no_file() {
    let values = clustered(300, DIM, 3, 1);
    let index = common::built("Flat", Rows::new(&values, DIM).unwrap(), Metric::L2, 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stopped.index");
    let stopped = save_tuned(&path, &*index, &provenance(DIM), &[], None, &AtomicBool::new(true));
    assert!(matches!(stopped, Err(deepembed_index::SaveError::Cancelled)));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!("Flat".parse::<Spec>().unwrap(), index.spec());
}
