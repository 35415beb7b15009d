//! `gpt bench`: tokens a second, of a prompt and of decoding.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use gpt_runtime::plan::{Format, Plan};
use gpt_runtime::{Any, LoadOptions, Model, Session};
use serde_json::{Value, json};

use crate::interrupt;
use crate::options::{self, DeviceArguments, ModelArgument};
use crate::output::{self, Failure, Spread};

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArgument,
    /// Weights [default: random ones]
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArguments,
    /// Format of the matrices [default: as the file has them, f32 for random weights]
    #[arg(long, value_name = "TYPE", value_parser = options::format)]
    dtype: Option<Format>,
    /// Tokens of a prompt
    #[arg(long, value_name = "N", default_value_t = 512)]
    prefill: usize,
    /// Tokens decoded one by one
    #[arg(long, value_name = "N", default_value_t = 64)]
    decode: usize,
    /// Repetitions, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 5)]
    reps: usize,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let device = arguments.device.open()?;
    eprintln!("running on {}: {}", device.name(), device.reason());
    let built_in = arguments.model.model;
    let model = match &arguments.weights {
        Some(path) => {
            let options = LoadOptions {
                dtype: arguments.dtype,
                tokenizer: None,
            };
            built_in.load(path, &device, &options)?
        }
        None => built_in.init(&device, arguments.dtype.unwrap_or(Format::F32))?,
    };
    let (prefill, decode, reps) = (arguments.prefill, arguments.decode, arguments.reps);
    let longest = prefill.max(decode);
    let context = model.plan().spec.context as usize;
    if prefill == 0 || decode == 0 || reps == 0 || longest > context {
        return Err(Failure::Input(format!(
            "--prefill {prefill} --decode {decode} --reps {reps} cannot be measured: each takes at least 1, and at most {context} tokens fit"
        )));
    }
    interrupt::listen();
    let mut bench = Bench::open(&model, longest)?;
    // Once for the caches and the clock, not counted.
    bench.prefill(prefill)?;
    bench.decode(decode.min(4))?;
    let (mut prefills, mut decodes) = (Vec::new(), Vec::new());
    for _ in 0..reps {
        prefills.push(bench.prefill(prefill)?);
        decodes.push(bench.decode(decode)?);
        if interrupt::take() {
            break;
        }
    }
    report(arguments, &model, Spread::of(prefills), Spread::of(decodes))
}

fn report(
    arguments: &Arguments,
    model: &Model<Any>,
    prefill: Spread,
    decode: Spread,
) -> Result<(), Failure> {
    let plan = model.plan();
    let roofline = roofline(plan, arguments.dtype, &prefill, &decode);
    if arguments.json {
        return output::json(&json!({
            "prefill_tok_s": prefill.json(), "decode_tok_s": decode.json(),
            "device": model.device().name(), "roofline": roofline,
        }));
    }
    let mut out = output::stdout();
    for (what, n, spread) in [
        ("prefill", arguments.prefill, &prefill),
        ("decode", arguments.decode, &decode),
    ] {
        let text = format!(
            "{what:8} {n:5} tokens: {:9.1} tokens/s ({:.1} to {:.1})",
            spread.median, spread.min, spread.max
        );
        output::line(&mut out, &text)?;
    }
    Ok(())
}

/// What the figures amount to: arithmetic done by a prompt and, where the format is known, bytes of weights read by decoding.
fn roofline(plan: &Plan, format: Option<Format>, prefill: &Spread, decode: &Spread) -> Value {
    let flops = plan.flops_per_token();
    let bytes = plan.weight_bytes_per_token(format.unwrap_or(Format::F32));
    json!({
        "flops_per_token": flops,
        "weight_bytes_per_token": bytes,
        "prefill_gflop_s": prefill.median * flops as f64 / 1e9,
        "decode_gb_s": decode.median * bytes as f64 / 1e9,
    })
}

struct Bench {
    session: Session<Any>,
    tokens: Vec<u32>,
}

impl Bench {
    fn open(model: &Model<Any>, longest: usize) -> Result<Bench, Failure> {
        let vocab = model.plan().spec.vocab;
        let tokens = (0..longest as u32).map(|i| i.wrapping_mul(2_654_435_761) % vocab);
        Ok(Bench {
            session: model.session().capacity(longest as u32).open()?,
            tokens: tokens.collect(),
        })
    }

    /// Tokens a second of a prompt of `n`, with the logits of its last.
    fn prefill(&mut self, n: usize) -> Result<f64, Failure> {
        self.session.truncate(0);
        let start = Instant::now();
        self.session.push(&self.tokens[..n])?;
        Ok(n as f64 / start.elapsed().as_secs_f64())
    }

    /// Tokens a second of `n` decoded from an empty cache.
    fn decode(&mut self, n: usize) -> Result<f64, Failure> {
        self.session.truncate(0);
        let start = Instant::now();
        for token in &self.tokens[..n] {
            self.session.push(std::slice::from_ref(token))?;
        }
        Ok(n as f64 / start.elapsed().as_secs_f64())
    }
}
