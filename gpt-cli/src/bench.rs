//! `gpt bench`: tokens a second, of a prompt, of decoding, and of training.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use gpt_runtime::plan::{Format, Plan};
use gpt_runtime::{AdamW, Any, Batch, LoadOptions, Model, Session, TrainerSettings};
use serde_json::{Value, json};

use crate::interrupt;
use crate::options::{self, DeviceArguments, ModelArgument};
use crate::output::{self, Failure, Spread};
use crate::profile::{self, Profiles};

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
    /// Tokens of a prompt [default: 512, or the model's context if that is less]
    #[arg(long, value_name = "N")]
    prefill: Option<usize>,
    /// Tokens decoded one by one
    #[arg(long, value_name = "N", default_value_t = 64)]
    decode: usize,
    /// Trains on B sequences of T tokens, too: forward, back, and the optimizer's step, in f32
    #[arg(long, value_name = "BxT", value_parser = options::shape)]
    train: Option<(u32, u32)>,
    /// Times each step of a chunk of the prompt and of one decoded token, too
    #[arg(long)]
    profile: bool,
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
            built_in.load(Some(path), &device, &options)?
        }
        None => built_in.init(&device, arguments.dtype.unwrap_or(Format::F32))?,
    };
    let context = model.plan().spec.context as usize;
    let (decode, reps) = (arguments.decode, arguments.reps);
    let prefill = arguments.prefill.unwrap_or(context.min(512));
    let longest = prefill.max(decode);
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
    let profile = match arguments.profile {
        true => Some(profile::measure(&model, &bench.tokens[..longest], reps)?),
        false => None,
    };
    drop(bench);
    let figures = Figures {
        prefill: (prefill, Spread::of(prefills)),
        decode: (decode, Spread::of(decodes)),
        train: match arguments.train {
            Some(shape) => Some(Spread::of(train(model.clone(), shape, reps)?)),
            None => None,
        },
        profile,
    };
    report(arguments, &model, &figures)
}

struct Figures {
    /// Tokens, and how fast they went through.
    prefill: (usize, Spread),
    decode: (usize, Spread),
    train: Option<Spread>,
    profile: Option<Profiles>,
}

fn report(arguments: &Arguments, model: &Model<Any>, figures: &Figures) -> Result<(), Failure> {
    let Figures {
        prefill,
        decode,
        train,
        profile,
    } = figures;
    if arguments.json {
        let roofline = roofline(model.plan(), arguments.dtype, &prefill.1, &decode.1);
        let mut object = json!({
            "prefill_tok_s": prefill.1.json(), "decode_tok_s": decode.1.json(),
            "device": model.device().name(), "roofline": roofline,
        });
        if let Some(train) = train {
            object["train_tok_s"] = train.json();
            // Forward once, and twice as much on the way back.
            let flops = 3 * model.plan().flops_per_token();
            object["roofline"]["train_gflop_s"] = json!(train.median * flops as f64 / 1e9);
        }
        if let Some(profile) = profile {
            object["profile"] = profile.json();
        }
        return output::json(&object);
    }
    let mut out = output::stdout();
    let mut line = |what: &str, tokens: usize, spread: &Spread| {
        let text = format!(
            "{what:8} {tokens:5} tokens: {:9.1} tokens/s ({:.1} to {:.1})",
            spread.median, spread.min, spread.max
        );
        output::line(&mut out, &text)
    };
    line("prefill", prefill.0, &prefill.1)?;
    line("decode", decode.0, &decode.1)?;
    if let (Some(train), Some((batch, tokens))) = (train, arguments.train) {
        line("train", (batch * tokens) as usize, train)?;
    }
    profile.as_ref().map_or(Ok(()), Profiles::print)
}

/// Time that a measurement of training takes at least; steps of a small model are too short to be measured alone.
const TRAIN_TIME: f64 = 0.5;

/// Tokens a second of training on one batch, again and again.
fn train(
    model: Model<Any>,
    (sequences, tokens): (u32, u32),
    reps: usize,
) -> Result<Vec<f64>, Failure> {
    let vocab = model.plan().spec.vocab;
    let mut trainer = model.trainer(TrainerSettings {
        batch: sequences,
        tokens: Some(tokens),
        // The model should not learn this text by heart: its gradients would vanish.
        ..TrainerSettings::from(AdamW {
            lr: 1e-6,
            ..AdamW::default()
        })
    })?;
    let texts = (0..sequences * (tokens + 1)).map(|i| some_token(i, vocab));
    let batch = Batch::next_tokens(&texts.collect::<Vec<u32>>(), tokens as usize)?;
    // Twice for the caches and the clock; the second tells how many steps make a measurement.
    trainer.step(&batch)?;
    let start = Instant::now();
    trainer.step(&batch)?;
    let steps = (TRAIN_TIME / start.elapsed().as_secs_f64()).ceil() as usize;
    let mut speeds = Vec::new();
    for _ in 0..reps {
        let start = Instant::now();
        for _ in 0..steps {
            trainer.step(&batch)?;
        }
        speeds.push((steps * batch.rows()) as f64 / start.elapsed().as_secs_f64());
        if interrupt::take() {
            break;
        }
    }
    Ok(speeds)
}

fn some_token(i: u32, vocab: u32) -> u32 {
    i.wrapping_mul(2_654_435_761) % vocab
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
        let tokens = (0..longest as u32).map(|i| some_token(i, vocab));
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
