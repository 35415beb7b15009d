//! The dispatches of a pass on a GPU: the tables, and the same as JSON.

use gpt_runtime::__private::plan::{
    Format, Kernel, Phase, Plan, SPLIT_FROM, SPLIT_KEYS, SamplingOp,
};
use serde_json::{Map, Value, json};

use crate::table::Table;

/// The dispatches of each phase, of sampling, and of attention over many keys.
pub fn tables(plan: &'static Plan) -> Vec<Table> {
    let phases = [("decode", Phase::Decode, "token"), ("prefill", Phase::Prefill, "chunk")];
    let phases = phases.map(|(name, phase, per)| {
        let title = format!("{name}: {} dispatches a {per}", plan.dispatches(phase));
        (title, dispatches(plan, phase))
    });
    let all = phases.into_iter().chain(other_dispatches(plan));
    all.map(|(title, dispatches)| {
        let mut table = Table::new("<>>>>");
        table.head([title]);
        table.head(["", "times", "workgroups", "invocations each", "rows each"]);
        for d in dispatches {
            table.row(d.cells());
        }
        table
    })
    .collect()
}

/// The dispatches as fields of the JSON object of `gpt inspect`.
pub fn json(plan: &'static Plan) -> Map<String, Value> {
    let phase = |phase| {
        let steps = steps_json(&dispatches(plan, phase));
        json!({ "dispatches": plan.dispatches(phase), "steps": steps })
    };
    let fields = [
        ("decode", phase(Phase::Decode)),
        ("prefill", phase(Phase::Prefill)),
        ("sampling", steps_json(&sampling(plan, SamplingOp::FULL_VOCABULARY))),
        ("sampling_truncated", steps_json(&sampling(plan, SamplingOp::TRUNCATED))),
        ("split_attention_from", json!(plan.split_attention.map(|_| SPLIT_FROM + 1))),
        ("split_attention", steps_json(&split_attention(plan))),
    ];
    fields.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
}

/// The dispatches of one step.
struct Dispatch {
    times: u32,
    step: &'static str,
    kernel: String,
    groups: u32,
    workgroup: u32,
    tile_rows: u32,
}

impl Dispatch {
    fn new(times: u32, step: &'static str, kernel: &Kernel) -> Dispatch {
        Dispatch {
            times,
            step,
            kernel: kernel.name.to_string(),
            groups: kernel.groups,
            workgroup: kernel.workgroup,
            tile_rows: kernel.tile_rows,
        }
    }

    fn cells(&self) -> [String; 5] {
        [
            self.step.to_owned(),
            self.times.to_string(),
            self.groups.to_string(),
            self.workgroup.to_string(),
            self.tile_rows.to_string(),
        ]
    }
}

fn steps_json(dispatches: &[Dispatch]) -> Value {
    let step = |d: &Dispatch| {
        json!({
            "step": d.step, "times": d.times, "kernel": d.kernel, "workgroups": d.groups,
            "workgroup": d.workgroup, "rows": d.tile_rows,
        })
    };
    dispatches.iter().map(step).collect()
}

/// The steps of a phase, with their kernels for f32 weights (or the first format with a kernel).
fn dispatches(plan: &'static Plan, phase: Phase) -> Vec<Dispatch> {
    let mut dispatches = Vec::new();
    for section in plan.sections.iter() {
        let kind_steps = section.steps.len() / section.period as usize;
        for (i, step) in section.steps.iter().enumerate() {
            let times = section.count((i / kind_steps) as u32);
            let index = Format::ALL.iter().map(|f| step.kernel(phase, *f));
            let kernel = index.filter_map(|i| plan.kernels.get(usize::from(i))).next();
            let kernel = kernel.expect("every step has a kernel in some format");
            dispatches.push(Dispatch::new(times, &step.name, kernel));
        }
    }
    dispatches
}

/// The dispatches of sampling on a GPU, and of attention over many keys, each with a title.
fn other_dispatches(plan: &Plan) -> Vec<(String, Vec<Dispatch>)> {
    let mut others = vec![
        (
            "sampling on a GPU: greedy, or by temperature".to_owned(),
            sampling(plan, SamplingOp::FULL_VOCABULARY),
        ),
        ("sampling with top-k, top-p or min-p".to_owned(), sampling(plan, SamplingOp::TRUNCATED)),
    ];
    if plan.split_attention.is_some() {
        others.push((
            format!(
                "attention of a token over more than {SPLIT_FROM} keys, in splits of {SPLIT_KEYS} keys"
            ),
            split_attention(plan),
        ));
    }
    others
}

fn sampling(plan: &Plan, steps: &[SamplingOp]) -> Vec<Dispatch> {
    let kernel = |op: &SamplingOp| &plan.kernels[usize::from(plan.sampling[*op as usize])];
    let steps = steps.iter();
    let steps = steps.map(|op| Dispatch::new(1, op.name(), kernel(op)));
    steps.collect()
}

fn split_attention(plan: &Plan) -> Vec<Dispatch> {
    let Some(split) = plan.split_attention else {
        return Vec::new();
    };
    let kernels = [("attention_split", split.split), ("attention_merge", split.merge)];
    let kernels = kernels.map(|(name, at)| (name, &plan.kernels[usize::from(at)]));
    let layers = plan.spec.layers;
    kernels.map(|(name, kernel)| Dispatch::new(layers, name, kernel)).into()
}
