//! `gpt inspect`: prints a model's spec, tensors, memory and dispatches, without running it.

use clap::Args;
use gpt_runtime::__private::plan::{
    ATTENTION_PART, ChoiceOp, Format, Kernel, Mlp, Norm, Phase, Plan, Positions, Recompute,
    RowCount, SPLIT_FROM, Spec, TrainShape,
};
use serde_json::{Value, json};

use crate::options::ModelArgument;
use crate::output::{self, Failure, bytes, count, train_parts};

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArgument,
    /// Sequences of a training batch, for its memory
    #[arg(long, value_name = "B", default_value_t = 12)]
    batch: u32,
    /// Tokens of a sequence [default: the model's context, at most 1024]
    #[arg(long, value_name = "T")]
    context: Option<u32>,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// The default chunk of a session, for which activation buffers are listed.
const CHUNK: u64 = 256;

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let plan = (arguments.model.model.plan)();
    let context = plan.spec.context;
    let shape = TrainShape {
        batch: arguments.batch,
        tokens: arguments.context.unwrap_or(context.min(1024)),
        recompute: Recompute::Nothing,
    };
    if shape.batch == 0 || shape.tokens == 0 || shape.tokens > context {
        return Err(Failure::Input(format!(
            "--batch {} --context {} cannot be trained: each must be at least 1, and the context at most {context}",
            shape.batch, shape.tokens
        )));
    }
    if arguments.json {
        return output::json(&as_json(plan, &shape));
    }
    let mut out = output::stdout();
    let mut line = |text: String| output::line(&mut out, &text);
    let spec = &plan.spec;
    line(format!(
        "{}: {} parameters, {}FLOP a token, {} of cache a token",
        plan.name,
        count(plan.params()),
        count(plan.flops_per_token()),
        bytes(spec.kv_bytes_per_token())
    ))?;
    line("\nspec".to_owned())?;
    for (key, value) in spec_rows(spec) {
        line(format!("  {key:15} {value}"))?;
    }
    line("\ntensors                shape            each  parameters".to_owned())?;
    for tensor in plan.tensors.iter() {
        let shape = if tensor.columns == 1 {
            format!("[{}]", tensor.rows)
        } else {
            format!("[{}, {}]", tensor.rows, tensor.columns)
        };
        let copies = plan.count(tensor);
        line(format!(
            "  {:20} {shape:16} {copies:4} {:>11}",
            tensor.name,
            count(tensor.len() * copies)
        ))?;
    }
    line("\nmemory".to_owned())?;
    for format in Format::ALL {
        line(format!(
            "  weights in {:4} {:>10}",
            format.name(),
            bytes(weight_bytes(plan, format))
        ))?;
    }
    let cache = spec.kv_bytes_per_token() * u64::from(spec.context);
    line(format!("  kv_cache, full  {:>10}", bytes(cache)))?;
    line(format!(
        "  activations     {:>10}  (chunks of {CHUNK} tokens)",
        bytes(activation_bytes(plan))
    ))?;
    line(format!(
        "\ntraining, {} sequences of {} tokens at once",
        shape.batch, shape.tokens
    ))?;
    let memory = plan.train_bytes(&shape);
    for (name, n) in train_parts(&memory) {
        line(format!("  {name:15} {:>10}", bytes(n)))?;
    }
    line(format!("  together        {:>10}", bytes(memory.total())))?;
    let less = plan.train_bytes(&recomputed(&shape));
    line(format!(
        "  with recompute  {:>10}  (activations {})",
        bytes(less.total()),
        bytes(less.activations)
    ))?;
    for phase in [Phase::Decode, Phase::Prefill] {
        let (name, per) = match phase {
            Phase::Decode => ("decode", "token"),
            Phase::Prefill => ("prefill", "chunk"),
        };
        line(format!(
            "\n{name}: {} dispatches a {per}",
            plan.dispatches(phase)
        ))?;
        for d in dispatches(plan, phase) {
            line(d.text())?;
        }
    }
    for (title, dispatches) in beside(plan) {
        line(format!("\n{title}"))?;
        for d in dispatches {
            line(d.text())?;
        }
    }
    Ok(())
}

fn recomputed(shape: &TrainShape) -> TrainShape {
    TrainShape {
        recompute: Recompute::Block,
        ..*shape
    }
}

fn train_json(plan: &Plan, shape: &TrainShape) -> Value {
    let memory = plan.train_bytes(shape);
    let parts = train_parts(&memory).map(|(name, n)| (name.to_owned(), json!(n)));
    let total = ("total".to_owned(), json!(memory.total()));
    Value::Object(parts.into_iter().chain([total]).collect())
}

fn as_json(plan: &'static Plan, shape: &TrainShape) -> Value {
    let tensors: Vec<Value> = plan
        .tensors
        .iter()
        .map(|t| {
            let sources: Vec<Value> = t
                .sources
                .iter()
                .map(|s| json!({ "hf": s.hf, "gguf": s.gguf, "rows": s.rows }))
                .collect();
            json!({ "name": t.name, "shape": [t.rows, t.columns], "count": plan.count(t), "sources": sources })
        })
        .collect();
    let weights: serde_json::Map<String, Value> = Format::ALL
        .into_iter()
        .map(|f| (f.name().to_owned(), json!(weight_bytes(plan, f))))
        .collect();
    let spec: serde_json::Map<String, Value> = spec_rows(&plan.spec)
        .into_iter()
        .map(|(key, value)| {
            (
                key.to_owned(),
                value.parse::<u64>().map_or(json!(value), |n| json!(n)),
            )
        })
        .collect();
    let phase = |phase| json!({ "dispatches": plan.dispatches(phase), "steps": steps_json(&dispatches(plan, phase)) });
    json!({
        "name": plan.name, "params": plan.params(), "flops_per_token": plan.flops_per_token(),
        "kv_bytes_per_token": plan.spec.kv_bytes_per_token(), "spec": spec, "tensors": tensors,
        "weight_bytes": weights, "activation_bytes": activation_bytes(plan),
        "train_bytes": {
            "batch": shape.batch, "context": shape.tokens, "recompute_nothing": train_json(plan, shape),
            "recompute_block": train_json(plan, &recomputed(shape)),
        },
        "decode": phase(Phase::Decode), "prefill": phase(Phase::Prefill),
        "choice": steps_json(&choice(plan, ChoiceOp::WHOLE)), "choice_with_cuts": steps_json(&choice(plan, ChoiceOp::CUT)),
        "attention_from": plan.split.map(|_| SPLIT_FROM + 1), "attention_in_parts": steps_json(&parts(plan)),
    })
}

fn spec_rows(spec: &Spec) -> Vec<(&'static str, String)> {
    let norm = match spec.norm {
        Norm::LayerNorm { eps } => format!("LayerNorm {{ eps: {eps:e} }}"),
        Norm::RmsNorm { eps } => format!("RmsNorm {{ eps: {eps:e} }}"),
    };
    let positions = match spec.positions {
        Positions::Rope { theta } => format!("Rope {{ theta: {theta} }}"),
        other => format!("{other:?}"),
    };
    vec![
        ("vocab", spec.vocab.to_string()),
        ("context", spec.context.to_string()),
        ("layers", spec.layers.to_string()),
        ("heads", spec.heads.to_string()),
        ("kv_heads", spec.kv_heads.to_string()),
        ("embed", spec.embed.to_string()),
        ("head_dim", spec.head_dim.to_string()),
        ("norm", norm),
        ("block", format!("{:?}", spec.block)),
        ("mlp", mlp(&spec.mlp)),
        ("positions", positions),
        ("mask", format!("{:?}", spec.mask)),
        ("bias", spec.bias.to_string()),
        ("tie_embeddings", spec.tie_embeddings.to_string()),
        ("dropout", spec.dropout.to_string()),
    ]
}

fn mlp(mlp: &Mlp) -> String {
    let kind = if mlp.gated { "Gated" } else { "Dense" };
    let activation = mlp.activation.name().unwrap_or("a closure");
    format!(
        "{kind} {{ hidden: {}, activation: {activation} }}",
        mlp.hidden
    )
}

fn weight_bytes(plan: &Plan, format: Format) -> u64 {
    let tensors = plan.tensors.iter();
    tensors
        .map(|t| {
            let format = match t.kind {
                gpt_runtime::__private::plan::TensorKind::Matrix => format,
                _ => Format::F32,
            };
            let row = format.row_bytes(t.columns as usize) as u64;
            u64::from(t.rows) * row * plan.count(t)
        })
        .sum()
}

fn activation_bytes(plan: &Plan) -> u64 {
    let rows = |rows| match rows {
        RowCount::Chunk => CHUNK.min(u64::from(plan.spec.context)),
        RowCount::Requested | RowCount::One => 1,
        _ => 0,
    };
    plan.buffers
        .iter()
        .map(|b| 4 * u64::from(b.width) * rows(b.rows))
        .sum()
}

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

    fn text(&self) -> String {
        format!(
            "  {:3} x {:20} {:5} groups of {:3} for {:2} row{}",
            self.times,
            self.step,
            self.groups,
            self.workgroup,
            self.tile_rows,
            if self.tile_rows == 1 { "" } else { "s" }
        )
    }
}

fn steps_json(dispatches: &[Dispatch]) -> Vec<Value> {
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
        let times = section.repeat.count();
        for step in section.steps.iter() {
            let index = Format::ALL.iter().map(|f| step.kernel(phase, *f));
            let kernel = index
                .filter_map(|i| plan.kernels.get(usize::from(i)))
                .next();
            let kernel = kernel.expect("every step has a kernel in some format");
            dispatches.push(Dispatch::new(times, &step.name, kernel));
        }
    }
    dispatches
}

/// The dispatches of sampling on a GPU, and of attention over many keys, each with a title.
fn beside(plan: &Plan) -> Vec<(String, Vec<Dispatch>)> {
    let mut beside = vec![
        (
            "sampling on a GPU: greedy, or by temperature".to_owned(),
            choice(plan, ChoiceOp::WHOLE),
        ),
        (
            "sampling with top-k, top-p or min-p".to_owned(),
            choice(plan, ChoiceOp::CUT),
        ),
    ];
    if plan.split.is_some() {
        beside.push((
            format!(
                "attention of a token that sees more than {SPLIT_FROM} keys, for each {ATTENTION_PART} of them"
            ),
            parts(plan),
        ));
    }
    beside
}

fn choice(plan: &Plan, steps: &[ChoiceOp]) -> Vec<Dispatch> {
    let kernel = |op: &ChoiceOp| &plan.kernels[usize::from(plan.choice[*op as usize])];
    let steps = steps.iter();
    let steps = steps.map(|op| Dispatch::new(1, op.name(), kernel(op)));
    steps.collect()
}

fn parts(plan: &Plan) -> Vec<Dispatch> {
    let Some(split) = plan.split else {
        return Vec::new();
    };
    let kernels = [
        ("attention_part", split.part),
        ("attention_join", split.join),
    ];
    let kernels = kernels.map(|(name, at)| (name, &plan.kernels[usize::from(at)]));
    let layers = plan.spec.layers;
    kernels
        .map(|(name, kernel)| Dispatch::new(layers, name, kernel))
        .into()
}
