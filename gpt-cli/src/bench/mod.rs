//! `gpt bench`: measures prompts, decoding and training in tokens per second, and relative to the
//! roofline.
//!
//! `measure` runs the timed work, `roofline` compares its speed with the peak of the machine,
//! `profile` times single steps, and `start` measures the time to the first token.

mod measure;
mod profile;
mod roofline;
mod start;

use std::path::PathBuf;
use std::time::Instant;

pub use self::measure::{Bench, TrainBench};
pub use self::roofline::Roofline;

use clap::Args;
use gpt_runtime::Format;
use gpt_runtime::profile::PeakRates;
use gpt_runtime::{CacheFormat, LoadOptions, Model, Untyped};
use serde_json::json;

use self::profile::Profiles;
use self::start::Start;
use crate::hub;
use crate::interrupt;
use crate::options::{self, CacheArgument, DeviceArguments, ModelArgument};
use crate::output::{self, Failure, Spread};
use crate::progress::{self, Bar, Spinner};
use crate::train::Operands;

#[derive(Args)]
#[command(after_help = "Examples:
  gpt bench --model gpt2 --dtype q8
  gpt bench --model nano --train 12x64 --profile")]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArgument,
    /// Weights [default: random weights]
    #[arg(long, value_name = "FILE", value_parser = hub::path())]
    weights: Option<PathBuf>,
    #[arg(long, value_name = "TYPE", value_parser = options::formats(), hide_possible_values = true)]
    #[arg(help = options::formats_help("the file's, or f32"))]
    dtype: Option<Format>,
    /// Tokens per prompt [default: 512, or the model's context]
    #[arg(long, value_name = "N")]
    prefill: Option<usize>,
    /// Tokens decoded one by one
    #[arg(long, value_name = "N", default_value_t = 64)]
    decode: usize,
    /// Tokens in the cache before decoding
    #[arg(long, value_name = "N", default_value_t = 0)]
    position: usize,
    /// Also trains on B sequences of T tokens
    #[arg(long, value_name = "BxT", value_parser = options::shape)]
    train: Option<(u32, u32)>,
    /// Format of training's matrix products: f32, bf16, f16
    #[arg(
        long,
        value_enum,
        value_name = "TYPE",
        hide_possible_values = true,
        default_value = "f32",
        requires = "train"
    )]
    train_dtype: Operands,
    /// Also times each step of a prompt, of a token, and of training
    #[arg(long)]
    profile: bool,
    /// Repetitions; the median is reported
    #[arg(long, value_name = "N", default_value_t = 5)]
    reps: usize,
    #[command(flatten)]
    cache: CacheArgument,
    #[command(flatten)]
    device: DeviceArguments,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let start = Instant::now();
    let device = arguments.device.open()?;
    let opened = start.elapsed();
    eprintln!("running on {}: {}", device.name(), device.reason());
    let chosen = arguments.model.choose(arguments.weights.as_deref())?;
    let model = match &arguments.weights {
        Some(path) => {
            let options = LoadOptions {
                dtype: arguments.dtype,
                tokenizer: None,
                progress: Some(progress::loading()),
            };
            chosen.load(Some(path), &device, &options)?
        }
        None => {
            let _spinner = Spinner::new("drawing random weights");
            chosen.init(&device, arguments.dtype.unwrap_or(Format::F32))?
        }
    };
    let context = model.plan().spec.context as usize;
    let prefill = arguments.prefill.unwrap_or(context.min(512));
    let (position, decode, reps) = (arguments.position, arguments.decode, arguments.reps);
    let fits = prefill.max(position.saturating_add(decode)) <= context;
    if prefill == 0 || decode == 0 || reps == 0 || !fits {
        return Err(Failure::Input(format!(
            "--prefill {prefill} --decode {decode} --position {position} --reps {reps} cannot be measured: only --position may be 0, and neither the prompt nor --position plus --decode may exceed the context of {context} tokens"
        )));
    }
    interrupt::listen();
    let from_file = arguments.weights.as_ref();
    let start = from_file.map(|_| Start::measure(&model, opened));
    let start = start.transpose()?;
    let measured = measure(arguments, &model, prefill)?;
    let limits = roofline::middle(&measured.limits);
    let median = |speeds: &[f64]| Spread::of(speeds.to_vec()).median;
    let cache = cache_bytes(&model, arguments.cache.cache);
    let mut lines = vec![
        Line {
            what: "prefill",
            tokens: prefill,
            roofline: Roofline::prefill(&model, prefill as u64, median(&measured.prefill), &limits),
            speed: Spread::of(measured.prefill),
        },
        Line {
            what: "decode",
            tokens: decode,
            roofline: Roofline::decode(
                &model,
                (position as u64, decode as u64),
                cache,
                median(&measured.decode),
                &limits,
            ),
            speed: Spread::of(measured.decode),
        },
    ];
    if let Some((batch, tokens)) = arguments.train {
        lines.push(Line {
            what: "train",
            tokens: (batch * tokens) as usize,
            roofline: Roofline::train(
                &model,
                (u64::from(tokens), arguments.train_dtype.format()),
                median(&measured.train),
                &limits,
            ),
            speed: Spread::of(measured.train),
        });
    }
    let profile = measured.profile.as_ref();
    report(arguments, &model, (start, &lines), &limits, profile)
}

/// Bytes of the cache for one position.
pub fn cache_bytes(model: &Model<Untyped>, format: CacheFormat) -> u64 {
    let spec = &model.plan().spec;
    2 * u64::from(spec.kv_width()) * u64::from(spec.layers) * format.bytes() as u64
}

/// The results of the repetitions. Speeds are in tokens per second.
#[derive(Default)]
struct Measured {
    prefill: Vec<f64>,
    decode: Vec<f64>,
    train: Vec<f64>,
    limits: Vec<PeakRates>,
    profile: Option<Profiles>,
}

/// Warms up once, then measures everything in each repetition, so that a slow minute of the machine
/// affects all measurements.
fn measure(
    arguments: &Arguments,
    model: &Model<Untyped>,
    prefill: usize,
) -> Result<Measured, Failure> {
    let decode = arguments.decode;
    let spinner = Spinner::new("warming up");
    let mut bench =
        Bench::open(model, prefill, (arguments.position, decode), arguments.cache.cache)?;
    bench.prefill(prefill)?;
    bench.decode(decode.min(4))?;
    let mut train = arguments
        .train
        .map(|shape| TrainBench::open(model.clone(), shape, arguments.train_dtype.precision()))
        .transpose()?;
    let meter = model.device().meter()?;
    drop(spinner);
    let mut measured = Measured::default();
    // The bar is drawn only between repetitions, so it takes no time from them.
    let bar = Bar::new(arguments.reps as u64, "{bar:30} {pos}/{len} repetitions");
    for done in 1..=arguments.reps {
        measured.limits.push(meter.measure());
        measured.prefill.push(bench.prefill(prefill)?);
        measured.decode.push(bench.decode(decode)?);
        if let Some(train) = &mut train {
            measured.train.push(train.train()?);
        }
        bar.set(done as u64);
        if interrupt::take() {
            break;
        }
    }
    drop(bar);
    if arguments.profile {
        let _still = Bar::still("timing each step");
        let limits = roofline::middle(&measured.limits);
        let reps = arguments.reps;
        let training = train.as_mut().map(|train| train.profile(reps));
        let training = training.transpose()?;
        let profile = profile::measure(model, &bench.tokens, reps, limits, training)?;
        measured.profile = Some(profile);
    }
    Ok(measured)
}

/// A speed and its share of the roofline.
struct Line {
    what: &'static str,
    tokens: usize,
    speed: Spread,
    roofline: Roofline,
}

fn report(
    arguments: &Arguments,
    model: &Model<Untyped>,
    (start, lines): (Option<Start>, &[Line]),
    limits: &PeakRates,
    profile: Option<&Profiles>,
) -> Result<(), Failure> {
    if arguments.json {
        let mut object = json!({ "device": model.device().name(), "roofline": {} });
        object["roofline"]["read_gb_s"] = json!(limits.bytes / 1e9);
        object["roofline"]["peak_gflop_s"] = json!(limits.of(Format::F32) / 1e9);
        if let Some(start) = start {
            object["start"] = start.json();
        }
        for line in lines {
            object[format!("{}_tok_s", line.what)] = line.speed.json();
            object["roofline"][line.what] = line.roofline.json();
        }
        if let Some(profile) = profile {
            object["profile"] = profile.json();
        }
        return output::json(&object);
    }
    let mut out = output::stdout();
    if let Some(start) = start {
        output::line(&mut out, &start.text())?;
    }
    for line in lines {
        let Line { what, tokens, speed, roofline } = line;
        let text = format!(
            "{what:8} {tokens:5} tokens: {:9.1} tokens/s ({:.1} to {:.1}), {}",
            speed.median,
            speed.min,
            speed.max,
            roofline.text()
        );
        output::line(&mut out, &text)?;
    }
    profile.map_or(Ok(()), Profiles::print)
}
