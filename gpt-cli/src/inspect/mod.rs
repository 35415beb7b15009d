//! `gpt inspect`: prints a model's spec, parameters, memory, operations, dispatches and kernels,
//! without running it.

mod dispatches;

use std::path::PathBuf;

use clap::Args;
use gpt_runtime::__private::plan::{
    Format, NO_KERNEL, Phase, Plan, Recompute, Role, RowCount, Spec, Tensor, TensorKind, TrainShape,
};
use gpt_runtime::__private::{plan::Features, shaders};
use gpt_runtime::DEFAULT_CHUNK;
use serde_json::{Value, json};

use crate::hub;
use crate::options::ModelArgument;
use crate::output::{self, Failure, bytes, count, train_parts};
use crate::table::{Table, title};

#[derive(Args)]
#[command(after_help = "Examples:
  gpt inspect --model gpt2
  gpt inspect --model nano --batch 32 --context 64 --json")]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArgument,
    /// Weights, or a config.json
    #[arg(long, value_name = "FILE", value_parser = hub::path())]
    weights: Option<PathBuf>,
    /// Sequences per training batch
    #[arg(long, value_name = "B", default_value_t = 12)]
    batch: u32,
    /// Tokens per sequence [default: the model's context, at most 1024]
    #[arg(long, value_name = "T")]
    context: Option<u32>,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let plan = arguments.model.choose(arguments.weights.as_deref())?.plan;
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
    output::line(&mut out, &summary(plan))?;
    let tables = [
        spec_table(&plan.spec),
        parameters(plan),
        inference_memory(plan),
        training_memory(plan, &shape),
        operations(plan, &shape),
        formats(plan),
        kernels(plan),
    ];
    for table in tables.into_iter().chain(dispatches::tables(plan)) {
        output::line(&mut out, "")?;
        for line in table.lines() {
            output::line(&mut out, &line)?;
        }
    }
    Ok(())
}

/// The figures by which models are compared.
fn summary(plan: &Plan) -> String {
    format!(
        "{}: {} parameters, {}FLOP a token, {} of cache a token",
        title().apply_to(&plan.name),
        count(plan.params()),
        count(plan.flops_per_token()),
        bytes(plan.spec.kv_bytes_per_token())
    )
}

fn spec_table(spec: &Spec) -> Table {
    let mut table = Table::new("<<");
    table.head(["spec"]);
    // The keys that a declaration would have, and the sizes that follow from them.
    let declared = gpt_codegen::declared_values(spec);
    let sizes = [("kv_heads", spec.kv_heads), ("head_dim", spec.head_dim)];
    let derived = sizes.into_iter().filter(|(key, _)| declared.iter().all(|(own, _)| own != key));
    for (key, value) in &declared {
        table.row([*key, value.as_str()]);
    }
    for (key, value) in derived {
        table.row([key, value.to_string().as_str()]);
    }
    table
}

/// The groups of tensors in the tables.
const GROUPS: [&str; 5] = ["embedding", "attention", "mlp", "norms", "head"];

fn group(tensor: &Tensor) -> &'static str {
    match tensor.role {
        Role::TokenEmbedding | Role::Positions | Role::TokenTypes => "embedding",
        Role::Qkv | Role::AttentionOut => "attention",
        Role::MlpUp | Role::MlpDown => "mlp",
        Role::EmbeddingNorm
        | Role::AttentionNorm
        | Role::QkNorm
        | Role::AttentionBranchNorm
        | Role::MlpNorm
        | Role::MlpBranchNorm
        | Role::FinalNorm
        | Role::HeadNorm => "norms",
        Role::HeadDense | Role::Head => "head",
    }
}

/// The tensors of each group that the model has.
fn by_group(plan: &Plan) -> impl Iterator<Item = (&'static str, Vec<&Tensor>)> {
    let tensors = |name: &'static str| {
        let tensors = plan.tensors.iter();
        tensors.filter(move |t| group(t) == name).collect::<Vec<_>>()
    };
    let groups = GROUPS.into_iter().map(move |name| (name, tensors(name)));
    groups.filter(|(_, tensors)| !tensors.is_empty())
}

fn parameters(plan: &Plan) -> Table {
    let mut table = Table::new("<<>>>");
    table.head(["parameters", "shape", "copies", "elements", "share"]);
    let elements = |t: &Tensor| match t.sources.is_empty() {
        // A computed table has no parameters.
        true => 0,
        false => t.len() * plan.count(t),
    };
    let share = |n: u64| format!("{:.1} %", 100.0 * n as f64 / plan.params() as f64);
    for (name, tensors) in by_group(plan) {
        let all = tensors.iter().map(|t| elements(t)).sum();
        table.row([name, "", "", &count(all), &share(all)]);
        for tensor in tensors {
            let shape = match tensor.columns {
                1 => format!("[{}]", tensor.rows),
                columns => format!("[{}, {columns}]", tensor.rows),
            };
            let n = elements(tensor);
            table.detail([
                tensor.name.as_ref(),
                &shape,
                &plan.count(tensor).to_string(),
                &count(n),
                &share(n),
            ]);
        }
    }
    table.sum(["total", "", "", &count(plan.params()), &share(plan.params())]);
    table
}

/// The formats except K-quants, grouped by the size of a weight. A table of bytes has a column for
/// each group.
fn sizes() -> Vec<Vec<Format>> {
    let size = |format: Format| (format.block(), format.block_bytes());
    let mut sizes: Vec<Vec<Format>> = Vec::new();
    // K-quants come from files; the table of formats lists their bits.
    for format in Format::ALL.into_iter().filter(|format| !format.is_k_quant()) {
        match sizes.iter_mut().find(|formats| size(formats[0]) == size(format)) {
            Some(formats) => formats.push(format),
            None => sizes.push(vec![format]),
        }
    }
    sizes
}

/// The cells of a row: its name, and the bytes for each group of formats.
fn each_size(name: &str, value: impl Fn(Format) -> u64) -> Vec<String> {
    let values = sizes().into_iter().map(|formats| bytes(value(formats[0])));
    std::iter::once(name.to_owned()).chain(values).collect()
}

fn inference_memory(plan: &Plan) -> Table {
    let mut table = Table::new(&format!("<{}", ">".repeat(sizes().len())));
    let context = plan.spec.context;
    let names = |formats: Vec<Format>| {
        let names: Vec<&str> = formats.into_iter().map(Format::name).collect();
        names.join(", ")
    };
    let title = "memory of inference, in".to_owned();
    table.head(std::iter::once(title).chain(sizes().into_iter().map(names)));
    for (name, tensors) in by_group(plan) {
        let stored = |f| tensors.iter().map(|t| tensor_bytes(plan, t, f)).sum();
        table.row(each_size(name, stored));
    }
    let cache = plan.spec.kv_bytes_per_token() * u64::from(context);
    table.row(each_size(&format!("kv_cache, {context} tokens"), |_| cache));
    let activations = activation_bytes(plan);
    table.row(each_size("activations of a chunk", |_| activations));
    table.sum(each_size("total", |f| weight_bytes(plan, f) + cache + activations));
    table
}

fn training_memory(plan: &Plan, shape: &TrainShape) -> Table {
    let mut table = Table::new("<>>");
    let title = format!("training, {} sequences of {} tokens", shape.batch, shape.tokens);
    table.head([title.as_str(), "all kept", "blocks recomputed"]);
    let (all, less) = (plan.train_bytes(shape), plan.train_bytes(&recomputed(shape)));
    for ((name, a), (_, b)) in train_parts(&all).into_iter().zip(train_parts(&less)) {
        table.row([name, &bytes(a), &bytes(b)]);
    }
    table.sum(["total", &bytes(all.total()), &bytes(less.total())]);
    table
}

/// The FLOPs of each step, for the first token and the last token of the context, for a prompt, and
/// for a step of training.
fn operations(plan: &Plan, shape: &TrainShape) -> Table {
    let context = u64::from(plan.spec.context);
    let tokens = u64::from(shape.tokens);
    let mut table = Table::new("<>>>>");
    table.head([
        "FLOPs".to_owned(),
        "first token".to_owned(),
        format!("token {context}"),
        format!("prompt of {context}"),
        format!("training on {}x{tokens}", shape.batch),
    ]);
    let mut names: Vec<&str> = Vec::new();
    for (_, step) in plan.steps() {
        if !names.contains(&step.name.as_ref()) {
            names.push(&step.name);
        }
    }
    // A backward pass takes two products for each of the forward pass.
    let figures = |name: Option<&str>| {
        let mut sums = [0u64; 4];
        let steps = plan.steps().map(|(_, step)| step);
        for step in steps.filter(|step| name.is_none_or(|name| step.name == name)) {
            // A prompt needs only the logits of its last token.
            let rows = if step.op.is_head() { 1 } else { context };
            let flops = |at, rows| plan.work(step, Format::F32, at, rows).flops;
            let training = flops(0, tokens).saturating_mul(3 * u64::from(shape.batch));
            let all = [flops(0, 1), flops(context - 1, 1), flops(0, rows), training];
            for (sum, n) in sums.iter_mut().zip(all) {
                *sum = sum.saturating_add(n);
            }
        }
        sums.map(count)
    };
    for name in names {
        let [a, b, c, d] = figures(Some(name));
        table.row([name, &a, &b, &c, &d]);
    }
    let [a, b, c, d] = figures(None);
    table.sum(["total", &a, &b, &c, &d]);
    table
}

fn formats(plan: &'static Plan) -> Table {
    let mut table = Table::new("<>>><");
    let titles = ["formats", "bits a weight", "weights", "read per token", "runs on"];
    table.head(titles);
    for format in Format::ALL {
        let bits = 8.0 * format.block_bytes() as f64 / format.block() as f64;
        let on_gpu = plan.steps().all(|(_, step)| {
            [Phase::Decode, Phase::Prefill]
                .iter()
                .all(|phase| step.kernel(*phase, format) != NO_KERNEL)
        });
        let of = |id, _| match plan.tensor(id).kind {
            TensorKind::Matrix => format,
            TensorKind::Table | TensorKind::Vector => Format::F32,
        };
        table.row([
            format.name(),
            &bits.to_string(),
            &bytes(weight_bytes(plan, format)),
            &bytes(plan.weight_bytes_per_token(of)),
            if on_gpu { "CPU, GPU" } else { "CPU" },
        ]);
    }
    table
}

fn kernels(plan: &Plan) -> Table {
    let mut table = Table::new("<>>>>");
    table.head(["kernels", "number", "with variants", "lines of WGSL", "bytes"]);
    let mut all = [0; 4];
    for (name, kernels) in [("inference", &plan.kernels), ("training", &plan.training.kernels)] {
        let variants = kernels.iter();
        let variants = variants.filter(|k| shaders::variant(k, Features::ALL).is_some());
        let sources: Vec<String> = kernels.iter().map(shaders::link).collect();
        let lines = sources.iter().map(|s| s.lines().count()).sum();
        let size = sources.iter().map(String::len).sum();
        let figures = [kernels.len(), variants.count(), lines, size];
        table.row(kernel_cells(name, &figures));
        for (sum, n) in all.iter_mut().zip(figures) {
            *sum += n;
        }
    }
    table.sum(kernel_cells("total", &all));
    table
}

fn kernel_cells(name: &str, figures: &[usize; 4]) -> [String; 5] {
    let [number, variants, lines, size] = figures;
    [
        name.to_owned(),
        number.to_string(),
        variants.to_string(),
        lines.to_string(),
        bytes(*size as u64),
    ]
}

fn recomputed(shape: &TrainShape) -> TrainShape {
    TrainShape { recompute: Recompute::Block, ..*shape }
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
    let spec: serde_json::Map<String, Value> = gpt_codegen::key_values(&plan.spec)
        .into_iter()
        .map(|(key, value)| {
            let number = value.replace('_', "").parse::<u64>();
            (key.to_owned(), number.map_or(json!(value), |n| json!(n)))
        })
        .collect();
    let mut json = json!({
        "name": plan.name, "params": plan.params(), "flops_per_token": plan.flops_per_token(),
        "kv_bytes_per_token": plan.spec.kv_bytes_per_token(), "spec": spec, "tensors": tensors,
        "weight_bytes": weights, "activation_bytes": activation_bytes(plan),
        "train_bytes": {
            "batch": shape.batch, "context": shape.tokens, "recompute_nothing": train_json(plan, shape),
            "recompute_block": train_json(plan, &recomputed(shape)),
        },
    });
    json.as_object_mut().expect("an object").extend(dispatches::json(plan));
    json
}

fn weight_bytes(plan: &Plan, format: Format) -> u64 {
    let tensors = plan.tensors.iter();
    tensors.map(|t| tensor_bytes(plan, t, format)).sum()
}

/// Bytes of all copies of a tensor, with matrices stored as `format`.
fn tensor_bytes(plan: &Plan, tensor: &Tensor, format: Format) -> u64 {
    let format = match tensor.kind {
        TensorKind::Matrix => format,
        TensorKind::Table | TensorKind::Vector => Format::F32,
    };
    let row = format.row_bytes(tensor.columns as usize) as u64;
    u64::from(tensor.rows) * row * plan.count(tensor)
}

/// Bytes of the activation buffers of a session with the default chunk.
fn activation_bytes(plan: &Plan) -> u64 {
    let rows = |rows| match rows {
        RowCount::Chunk => u64::from(DEFAULT_CHUNK.min(plan.spec.context)),
        RowCount::Requested | RowCount::One => 1,
        _ => 0,
    };
    plan.buffers.iter().map(|b| 4 * u64::from(b.width) * rows(b.rows)).sum()
}
