//! `deepembed index plan`: what an index would take, and whether it may.

use super::build::extent_of;
use crate::amounts;
use crate::context::Context;
use crate::failure::{Code, Failure, Outcome};
use crate::vectors::{Vectors, metric};
use data::Metric;
use data::vectors::parse_count;
use index::Spec;
use index::tune::{Extent, Machine, Plan, fitting, plan};
use serde_json::json;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Bytes that the program takes beside what it builds.
const PROGRAM: u64 = 48 << 20;

/// What to plan.
#[derive(clap::Args)]
pub struct Args {
    /// How the index is made; several are compared.
    #[arg(long, required = true)]
    spec: Vec<Spec>,
    /// Vectors to index.
    #[arg(long, conflicts_with_all = ["rows", "dim"], required_unless_present = "rows")]
    vectors: Option<PathBuf>,
    /// Rows, where there is no file yet: 10M.
    #[arg(long, value_name = "N", value_parser = parse_count, requires = "dim")]
    rows: Option<usize>,
    /// Values a row.
    #[arg(long, value_name = "D")]
    dim: Option<NonZeroUsize>,
    /// What compares vectors: l2 or dot.
    #[arg(long, default_value = "l2", value_parser = metric)]
    metric: Metric,
}

pub const EXAMPLE: &str = "Example:\n  \
    deepembed index plan --spec HNSW16 --spec 'IVF65536(HNSW32),PQ64x4fs,Refine(SQ8)' --rows 10M --dim 128\n\
    Bytes are counted and kept to; seconds are operations times what they take on this machine, measured for a third\n\
    of a second, and may be off by a factor of two or three.";

pub fn run(context: &Context, args: &Args) -> Outcome {
    let extent = match (&args.vectors, args.rows, args.dim) {
        (Some(path), _, _) => {
            let vectors = Vectors::open(path, None)?;
            let none = || Failure::message(Code::Failed, format!("{} has no vectors", path.display()));
            extent_of(&vectors, args.metric)?.ok_or_else(none)?
        }
        (None, Some(rows), Some(dim)) if rows > 0 => {
            Extent { rows, dim: dim.get(), metric: args.metric, whole: false }
        }
        _ => return Err(Failure::message(Code::Usage, "give --vectors, or --rows above 0 and --dim")),
    };
    let budget = Budget::measure(context);
    let (mut lines, mut plans) = (Vec::new(), Vec::new());
    for spec in &args.spec {
        let plan = budget.plan(spec, &extent)?;
        lines.push(described(spec, &extent, &plan));
        plans.push(json!({"spec": spec.to_string(), "plan": plan}));
    }
    let value = json!({
        "rows": extent.rows, "dim": extent.dim, "metric": extent.metric, "machine": budget.machine, "plans": plans,
    });
    context.talk.result(&value, lines.join("\n"))?;
    // After the figures, so that they are seen.
    args.spec.iter().try_for_each(|spec| budget.allow(spec, &extent, &budget.plan(spec, &extent)?))
}

/// What may be taken, and how fast this machine is.
pub struct Budget {
    pub machine: Machine,
    cap: Option<u64>,
}

impl Budget {
    pub fn measure(context: &Context) -> Self {
        Self { machine: Machine::measure(), cap: context.cap }
    }

    /// Bytes that may be taken beside the program's own.
    pub fn left(&self) -> Option<u64> {
        self.cap.map(|cap| cap.saturating_sub(PROGRAM))
    }

    /// The plan of this program: the peak has its own bytes too.
    pub fn plan(&self, spec: &Spec, extent: &Extent) -> Outcome<Plan> {
        let plan = plan(spec, extent, &self.machine)?;
        Ok(Plan { peak_bytes: plan.peak_bytes.saturating_add(PROGRAM), ..plan })
    }

    /// Says the plan, and refuses one that takes more than is allowed.
    pub fn keep(&self, context: &Context, spec: &Spec, extent: &Extent) -> Outcome<Plan> {
        let plan = self.plan(spec, extent)?;
        context.talk.say(format!("{:28} {}", "plan", described(spec, extent, &plan)));
        self.allow(spec, extent, &plan)?;
        Ok(plan)
    }

    fn allow(&self, spec: &Spec, extent: &Extent, plan: &Plan) -> Outcome {
        let Some(cap) = self.cap.filter(|cap| plan.peak_bytes > *cap) else { return Ok(()) };
        let fits = match fitting(extent, self.left().unwrap_or_default(), &self.machine) {
            Some(other) => format!(
                "{} takes {}",
                other.spec,
                amounts::bytes(other.plan.peak_bytes.saturating_add(PROGRAM))
            ),
            None => "no composition takes so little; index fewer rows or raise the memory".to_owned(),
        };
        let text = format!(
            "{spec} takes up to {} while it is built, --memory allows {}: {fits}",
            amounts::bytes(plan.peak_bytes),
            amounts::bytes(cap)
        );
        Err(Failure::message(Code::Failed, text))
    }
}

fn described(spec: &Spec, extent: &Extent, plan: &Plan) -> String {
    format!(
        "{spec} over {} x {} {}: index {}, file {}, up to {} in memory while building, about {} to build, about {} a query",
        extent.rows,
        extent.dim,
        extent.metric,
        amounts::bytes(plan.index_bytes),
        amounts::bytes(plan.file_bytes),
        amounts::bytes(plan.peak_bytes),
        amounts::seconds(plan.build_seconds),
        amounts::seconds(plan.query_seconds)
    )
}
