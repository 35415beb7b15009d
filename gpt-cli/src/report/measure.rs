//! The measurements of a report. A measurement that fails gives a row with its error, which is
//! worth reporting, too.

use std::time::Instant;

use gpt_runtime::__private::plan::{Feature, Phase};
use gpt_runtime::profile::{Clock, PeakRates};
use gpt_runtime::train::Precision;
use gpt_runtime::{
    CacheFormat, Check, Choice, Device, Format, Model, Sampling, SelfTest, Stop, Tuning, Untyped,
    adapters, self_test, self_test_training, tune, tune_training,
};
use serde_json::{Value, json};

use super::section::Section;
use crate::bench::{Bench, Roofline, TrainBench};
use crate::models::{BuiltIn, Chosen};
use crate::output::{Failure, Spread};

/// Runs of each measurement of speed, after a warm-up. Their median is reported.
const REPETITIONS: usize = 3;

/// Tokens decoded one after another.
const DECODED: usize = 32;

/// The amount of work in each measurement, which depends on the kind of device.
#[derive(Clone, Copy)]
pub struct Work {
    /// Tokens of a prompt.
    prompt: u32,
    /// Sequences and tokens of a training batch.
    batch: (u32, u32),
    /// The most parameters of a model whose kernels are tuned.
    tuned: u64,
}

impl Work {
    /// Returns more work for a hardware GPU than for the CPU engine or a software adapter.
    pub fn of(device: &Device) -> Work {
        match device.adapter().is_some_and(|adapter| adapter.kind != "software") {
            true => Work { prompt: 512, batch: (8, 1024), tuned: u64::MAX },
            false => Work { prompt: 64, batch: (4, 64), tuned: 10_000_000 },
        }
    }

    /// Whether the kernels of `model` are tuned.
    pub fn tunes(&self, model: &BuiltIn) -> bool {
        (model.plan)().params() <= self.tuned
    }
}

/// Describes the machine and the device.
pub fn machine(device: &Device) -> Result<Section, Failure> {
    let mut section = Section::new("machine", "Machine", &[("what", "what"), ("value", "value")]);
    let mut row = |what: &str, value: Value| section.row(json!({ "what": what, "value": value }));
    row("system", json!(format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)));
    row("CPU engine", json!(Device::cpu()?.name()));
    row("measured", json!(format!("{}: {}", device.name(), device.reason())));
    if let Some(adapter) = device.adapter() {
        let features: Vec<_> = adapter.features.iter().map(Feature::name).collect();
        row("adapter", json!(adapter.name));
        row("API", json!(adapter.backend));
        row("kind", json!(adapter.kind));
        row("driver", json!(adapter.driver));
        row("PCI", json!(adapter.pci.join(", ")));
        row("f16 in shaders", json!(if adapter.f16 { "yes" } else { "no" }));
        row("features", json!(features.join(", ")));
        for (name, limit) in adapter.limits {
            row(name, json!(limit));
        }
    }
    let others = adapters().into_iter().map(|a| format!("{} ({}, {})", a.name, a.backend, a.kind));
    row("all adapters", json!(others.collect::<Vec<_>>().join("; ")));
    let prefixes = ["GPT_", "WGPU_", "VK_", "MESA_"];
    for (name, value) in std::env::vars() {
        if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            row(&name, json!(value));
        }
    }
    Ok(section)
}

/// Measures peak rates and latency. Also returns the peak rates, with which speeds are compared;
/// they are NaN if they cannot be measured.
pub fn limits(device: &Device) -> (Section, PeakRates) {
    let mut section = Section::new(
        "limits",
        "Limits",
        &[("what", "what"), ("value", "value"), ("unit", "unit"), ("clock", "clock")],
    );
    let peak = match device.meter() {
        Ok(meter) => meter.measure(),
        Err(error) => {
            section.row(json!({ "what": "peak rates", "error": error.to_string() }));
            PeakRates { bytes: f64::NAN, products: [f64::NAN; Format::ALL.len()] }
        }
    };
    let mut row = |what: &str, value: f64, unit: &str, clock: Option<&str>| {
        section.row(json!({ "what": what, "value": value, "unit": unit, "clock": clock }));
    };
    if peak.bytes.is_finite() {
        row("memory read", peak.bytes / 1e9, "GB/s", None);
        row("products in f32", peak.of(Format::F32) / 1e9, "GFLOP/s", None);
    }
    match device.latency() {
        Ok(None) => {}
        Ok(Some(latency)) => {
            let clock = if latency.clock == Clock::Device { "device" } else { "host" };
            row("a dispatch that does nothing", latency.dispatch * 1e6, "µs", Some(clock));
            row(
                "a dispatch that depends on the previous one",
                latency.dependent * 1e6,
                "µs",
                Some(clock),
            );
            row("a submission until it is done", latency.submit * 1e6, "µs", Some("host"));
            row(
                "a submission and reading its result",
                latency.round_trip * 1e6,
                "µs",
                Some("host"),
            );
        }
        Err(error) => section.row(json!({ "what": "latency", "error": error.to_string() })),
    }
    (section, peak)
}

/// The section that [`test()`] and [`test_training`] fill.
pub fn tests() -> Section {
    Section::new(
        "selftest",
        "Self-test",
        &[
            ("model", "model"),
            ("what", "what"),
            ("steps", "steps"),
            ("worst", "worst step"),
            ("nmse", "its NMSE"),
            ("bound", "bound"),
            ("result", "result"),
        ],
    )
}

/// Compares inference in `format` with the CPU engine's portable kernels.
pub fn test(model: &'static BuiltIn, device: &Device, format: Format) -> Value {
    test_row(model, format.name(), self_test((model.plan)(), device, &[format]))
}

/// Compares training in f32 with the CPU engine's portable kernels.
pub fn test_training(model: &'static BuiltIn, device: &Device) -> Value {
    test_row(model, "training", self_test_training((model.plan)(), device))
}

fn test_row(model: &BuiltIn, what: &str, found: Result<SelfTest, gpt_runtime::Error>) -> Value {
    let mut row = json!({ "model": model.name, "what": what });
    match found {
        Err(error) => row["error"] = json!(error.to_string()),
        Ok(found) => {
            // An infinite error is the worst. JSON has no infinity, so `nmse` is then null.
            let share = |check: &&Check| check.error / check.bound;
            let worst = found.checks.iter().max_by(|a, b| share(a).total_cmp(&share(b)));
            row["steps"] = json!(found.checks.len());
            row["result"] = json!(match worst {
                None => "no kernels: a matrix is larger than an adapter can bind",
                Some(worst) if worst.passed() => "agrees",
                Some(_) => "WRONG",
            });
            if let Some(worst) = worst {
                row["worst"] = json!(worst.step);
                row["nmse"] = json!(worst.error);
                row["bound"] = json!(worst.bound);
            }
        }
    }
    row
}

/// The section that [`speed`] fills.
pub fn speeds() -> Section {
    Section::new(
        "speed",
        "Speed of inference, random weights",
        &[
            ("model", "model"),
            ("format", "format"),
            ("prompt", "prompt tokens"),
            ("prefill_tok_s", "prompt, tokens/s"),
            ("prefill_of_peak", "% of peak"),
            ("decode_tok_s", "decoding, tokens/s"),
            ("decode_of_peak", "% of peak"),
            ("generate_tok_s", "sampled on the GPU, tokens/s"),
            ("dispatches", "dispatches a token"),
            ("us_per_dispatch", "µs each"),
        ],
    )
}

/// Measures inference in `format`.
pub fn speed(
    model: &'static BuiltIn,
    device: &Device,
    format: Format,
    (work, peak): (Work, &PeakRates),
) -> Value {
    let row = json!({ "model": model.name, "format": format.name() });
    or_error(row, |row| {
        let plan = (model.plan)();
        let loaded = Chosen::from(model).init(device, format)?;
        let prompt = work.prompt.min(plan.spec.context) as usize;
        let decoded = DECODED.min(plan.spec.context as usize);
        let mut bench = Bench::open(&loaded, prompt, (0, decoded), CacheFormat::F32)?;
        let prefill = median(|| bench.prefill(prompt))?;
        let decode = median(|| bench.decode(decoded))?;
        let percent = |roofline: Roofline| json!(100.0 * roofline.fraction());
        row["prompt"] = json!(prompt);
        row["prefill_tok_s"] = json!(prefill);
        row["prefill_of_peak"] = percent(Roofline::prefill(&loaded, prompt as u64, prefill, peak));
        row["decode_tok_s"] = json!(decode);
        let cache = crate::bench::cache_bytes(&loaded, CacheFormat::F32);
        let of = (0, decoded as u64);
        row["decode_of_peak"] = percent(Roofline::decode(&loaded, of, cache, decode, peak));
        if device.is_gpu() {
            let generated = median(|| generate(&loaded, decoded))?;
            let dispatches = plan.dispatches(Phase::Decode);
            row["generate_tok_s"] = json!(generated);
            row["dispatches"] = json!(dispatches);
            row["us_per_dispatch"] = json!(1e6 / (generated * f64::from(dispatches)));
        }
        Ok(())
    })
}

/// Measures a greedy generation of `tokens` tokens, without the first one, in tokens per second.
fn generate(model: &Model<Untyped>, tokens: usize) -> Result<f64, Failure> {
    let mut session = model.session().capacity(tokens as u32 + 1).open()?;
    let stop = Stop::default().with_tokens(tokens);
    let sampling = Sampling::greedy();
    let mut generation = session.generate_tokens(&[0], sampling, stop)?;
    generation.next().transpose()?;
    let start = Instant::now();
    for token in &mut generation {
        token?;
    }
    let rest = generation.generated().saturating_sub(1).max(1);
    Ok(rest as f64 / start.elapsed().as_secs_f64())
}

/// The section that [`training_speed`] fills.
pub fn training_speeds() -> Section {
    Section::new(
        "training",
        "Speed of training",
        &[
            ("model", "model"),
            ("format", "format"),
            ("batch", "batch"),
            ("train_tok_s", "tokens/s"),
            ("of_peak", "% of peak"),
        ],
    )
}

/// The formats in which `device` can compute the matrix products of training.
pub fn precisions(device: &Device) -> Vec<(Format, Precision)> {
    let mut all = vec![(Format::F32, Precision::F32)];
    match device.adapter() {
        Some(adapter) if adapter.f16 => all.push((Format::F16, Precision::F16)),
        Some(_) => {}
        None => all.push((Format::Bf16, Precision::Bf16)),
    }
    all
}

/// Measures training with products in `precision`.
pub fn training_speed(
    model: &'static BuiltIn,
    device: &Device,
    (format, precision): (Format, Precision),
    (work, peak): (Work, &PeakRates),
) -> Value {
    let (sequences, tokens) = work.batch;
    let tokens = tokens.min((model.plan)().spec.context);
    let batch = format!("{sequences}x{tokens}");
    let row = json!({ "model": model.name, "format": format.name(), "batch": batch });
    or_error(row, |row| {
        let loaded = Chosen::from(model).init(device, Format::F32)?;
        let roofline = |speed| Roofline::train(&loaded, (tokens.into(), format), speed, peak);
        let mut bench = TrainBench::open(loaded.clone(), (sequences, tokens), precision)?;
        // `TrainBench::open` has run two warm-up steps.
        let runs = (0..REPETITIONS).map(|_| bench.train());
        let speed = Spread::of(runs.collect::<Result<_, _>>()?).median;
        row["train_tok_s"] = json!(speed);
        row["of_peak"] = json!(100.0 * roofline(speed).fraction());
        Ok(())
    })
}

/// The section that [`tuned`] fills.
pub fn tunings() -> Section {
    Section::new(
        "tuning",
        "Tuning: variants that are faster than the default, timed in two layers of the model",
        &[
            ("model", "model"),
            ("format", "format"),
            ("kernel", "kernel"),
            ("rows", "rows"),
            ("default_ms", "default, ms"),
            ("ms", "ms"),
            ("features", "variant"),
        ],
    )
}

/// Finds the fastest variants for inference in `format`, or for training if that is `None`, and
/// saves them as `gpt tune` does. Returns a row for each kernel whose default is not the fastest.
pub fn tuned(model: &'static BuiltIn, device: &Device, format: Option<Format>) -> Vec<Value> {
    let plan = (model.plan)();
    let found = match format {
        Some(format) => tune(plan, device, &[format]),
        None => tune_training(plan, device),
    };
    let row = json!({ "model": model.name, "format": format.map_or("training", Format::name) });
    let faster = |found: Tuning| {
        let faster = found.choices.into_iter().filter(|choice| choice.seconds < choice.default);
        faster.map(|choice| with_choice(row.clone(), &choice)).collect::<Vec<_>>()
    };
    match found {
        Ok(found) => faster(found),
        Err(error) => {
            let mut row = row;
            row["error"] = json!(error.to_string());
            vec![row]
        }
    }
}

fn with_choice(mut row: Value, choice: &Choice) -> Value {
    row["kernel"] = json!(choice.kernel);
    row["rows"] = json!(choice.rows);
    row["default_ms"] = json!(choice.default * 1e3);
    row["ms"] = json!(choice.seconds * 1e3);
    row["features"] = json!(choice.features.names());
    row
}

/// The row that `fill` completes, or the row with its error.
fn or_error(mut row: Value, fill: impl FnOnce(&mut Value) -> Result<(), Failure>) -> Value {
    if let Err(failure) = fill(&mut row) {
        row["error"] = json!(failure.message());
    }
    row
}

/// The median of [`REPETITIONS`] runs, after a warm-up run.
fn median(mut run: impl FnMut() -> Result<f64, Failure>) -> Result<f64, Failure> {
    run()?;
    let runs: Result<Vec<f64>, Failure> = (0..REPETITIONS).map(|_| run()).collect();
    Ok(Spread::of(runs?).median)
}
