//! `gpt train`: trains a model on a text.
//!
//! The folder of a run holds `tokenizer.json`, the tokens of the text (`train.bin`, `val.bin`), the
//! newest checkpoint (`checkpoint-500`), the best model so far (`model.safetensors` and
//! `config.json`, which `--weights FOLDER` loads), `log.jsonl` and `loss.svg`. A resumed run needs
//! nothing else. With `--ema`, the average of the weights is validated, sampled, and saved as the
//! best model. `lock` allows one run at a time to write to the folder.
//!
//! `options` has the settings, which are stored in checkpoints. `corpus` reads the text, and `text`
//! tokenizes it. `run` is the training loop; `progress` shows its progress, and `log` and `curve`
//! record its losses. `validate` computes the validation loss, of a run or alone.

mod corpus;
pub mod curve;
mod lock;
pub mod log;
mod options;
mod progress;
mod run;
mod text;
mod validate;

use std::path::{Path, PathBuf};

use clap::Args;
use gpt_runtime::train::{SavedRun, Trainer, available_memory};
use gpt_runtime::weights::{self, RandomWeights};
use gpt_runtime::{Device, TrainerSettings, Untyped};
use gpt_runtime::{Format, Plan};
use serde::{Deserialize, Serialize};

use crate::hub;
use crate::interrupt;
use crate::models::{self, BuiltIn, Chosen};
use crate::options::DeviceArguments;
use crate::output::{self, Failure, bytes, count, train_parts};
use crate::progress::Spinner;
use lock::Lock;
use log::Line;
pub use options::Operands;
use options::Options;
use text::Text;

#[derive(Args)]
#[command(override_usage = "gpt train [OPTIONS] --out <DIR>")]
#[command(after_help = "Examples:
  gpt train --model nano --data shakespeare.txt --out run
  gpt train --resume --out run --steps 4000")]
pub struct Arguments {
    /// Built-in model: bard, nano, ... [default: the model in --weights]
    #[arg(long, hide_possible_values = true, value_parser = models::named())]
    #[arg(required_unless_present_any = ["resume", "spec", "weights", "validate_only"])]
    #[arg(conflicts_with = "spec")]
    model: Option<&'static BuiltIn>,
    /// Declares the model with the keys of gpt_model!
    #[arg(long, value_name = "KEYS")]
    spec: Option<String>,
    /// UTF-8 text files or folders; the last tenth is for validation
    #[arg(long, value_name = "TEXT", num_args = 1..)]
    #[arg(required_unless_present_any = ["resume", "validate_only"])]
    data: Vec<PathBuf>,
    /// The folder of the run
    #[arg(long, value_name = "DIR", required_unless_present = "validate_only")]
    out: Option<PathBuf>,
    /// Resumes the run in DIR; options that are not given keep its values
    #[arg(long)]
    resume: bool,
    /// Only prints the validation loss of the run in DIR, or of --weights
    #[arg(long, conflicts_with = "resume")]
    validate_only: bool,
    /// char, bpe:SIZE, or a file [default: from --weights, or char]
    #[arg(long, value_name = "T")]
    tokenizer: Option<String>,
    /// Weights to start from [default: random weights]
    #[arg(long, value_name = "FILE", value_parser = hub::path())]
    weights: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    device: DeviceArguments,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// The folder of the run.
    fn out(&self) -> &Path {
        self.out.as_deref().unwrap_or(Path::new(""))
    }

    fn names_a_model(&self) -> bool {
        self.model.is_some() || self.spec.is_some() || self.weights.is_some()
    }
}

/// The state of a run except for its model, stored in each checkpoint.
#[derive(Clone, Serialize, Deserialize)]
struct Run {
    data: Data,
    /// The hash of the text's tokens: a run resumes only with the same text.
    fingerprint: u64,
    /// The keys of a model that is not built in.
    #[serde(default)]
    keys: Option<String>,
    options: Options,
    best: Option<Best>,
    /// The number of windows that the run has trained on; none in checkpoints of earlier versions.
    #[serde(default)]
    windows: Option<u64>,
    /// The log line of this step. It goes to `log.jsonl` after the validation, so it may be missing
    /// there.
    #[serde(default)]
    line: Option<Line>,
}

/// The paths of the text. Earlier versions wrote a single path.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Data {
    One(PathBuf),
    Several(Vec<PathBuf>),
}

impl Data {
    fn paths(&self) -> &[PathBuf] {
        match self {
            Data::One(path) => std::slice::from_ref(path),
            Data::Several(paths) => paths,
        }
    }
}

/// The lowest validation loss.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Best {
    step: u64,
    loss: f64,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.validate_only {
        return validate::run(arguments);
    }
    interrupt::listen();
    let lock = Lock::existing(arguments.out())?;
    let checkpoint = checkpoint(arguments)?;
    let given = (!arguments.data.is_empty()).then(|| Data::Several(arguments.data.clone()));
    let (model, data, known) = match &checkpoint {
        None => {
            let data = given.clone().filter(|_| arguments.names_a_model());
            let data = data.ok_or_else(|| nothing_to_resume(arguments.out()))?;
            let weights = arguments.weights.as_deref();
            let model = models::choose(arguments.model, arguments.spec.as_deref(), weights)?;
            (model, data, None)
        }
        Some(saved) => {
            let known = stored_run(saved)?;
            let data = given.clone().unwrap_or(known.data.clone());
            (model_of(arguments, saved, &known)?, data, Some(known))
        }
    };
    let plan = model.plan;
    let options = match &known {
        None => Options { tuned: arguments.weights.is_some(), ..arguments.options.clone() },
        Some(known) => arguments.options.clone().over(&known.options)?,
    };
    options.check_objective(plan)?;
    // If --data names the text again, it must be the same. Otherwise the saved tokens are used.
    let saved = match &known {
        Some(known) if given.is_none() => Text::saved(arguments, plan, known.fingerprint)?,
        _ => None,
    };
    let text = match saved {
        Some(text) => text,
        None => Text::read(arguments, plan, data.paths(), &options, known.is_some())?,
    };
    let fingerprint = text.fingerprint();
    if known.as_ref().is_some_and(|known| known.fingerprint != fingerprint) {
        return Err(Failure::Input(format!(
            "{} is not the text that the run in {} began with; pass that text, or start another run",
            corpus::names(data.paths()),
            arguments.out().display()
        )));
    }
    let device = arguments.device.open()?;
    eprintln!("running on {}: {}", device.name(), device.reason());
    let settings = options.settings(plan, &text.tokenizer)?;
    introduce(plan, &text, &settings)?;
    let spinner = Spinner::new("preparing the model");
    let trainer = match &checkpoint {
        Some(saved) => model.resume(&device, saved, settings)?,
        None => start(arguments, &model, &device, &options, settings)?,
    };
    drop(spinner);
    let run = Run {
        data,
        fingerprint,
        keys: model.keys(),
        options,
        best: known.as_ref().and_then(|known| known.best),
        windows: known.as_ref().and_then(|known| known.windows),
        line: known.as_ref().and_then(|known| known.line.clone()),
    };
    let trainer = trainer.tokenizer(Some(text.tokenizer.clone()));
    let before = known.map(|known| known.options);
    run::Loop::new(arguments, trainer, text, run, before, lock)?.run()
}

/// The checkpoint to resume from; none for a new run.
fn checkpoint(arguments: &Arguments) -> Result<Option<SavedRun>, Failure> {
    let out = arguments.out();
    let saved = SavedRun::latest(out)?;
    if !arguments.resume {
        if let Some(saved) = saved {
            return Err(Failure::Input(format!(
                "{} already has a run, of {}; continue it with --resume, or name another folder",
                out.display(),
                output::counted(saved.step() as usize, "step")
            )));
        }
        if out.join("model.safetensors").exists() {
            return Err(Failure::Input(format!(
                "{} already has a model, which training would replace; name another folder",
                out.display()
            )));
        }
        return Ok(None);
    }
    if arguments.weights.is_some() {
        return Err(Failure::Input(
            "--resume continues from a checkpoint and takes no --weights; remove one of the two"
                .to_owned(),
        ));
    }
    if saved.is_none() && arguments.names_a_model() {
        eprintln!("note: {} has no checkpoint yet, so a new run begins", out.display());
    }
    Ok(saved)
}

fn nothing_to_resume(out: &Path) -> Failure {
    Failure::Input(format!(
        "{} has no checkpoint to resume; start with --model and --data",
        out.display()
    ))
}

/// The state of the run that is stored in a checkpoint.
fn stored_run(saved: &SavedRun) -> Result<Run, Failure> {
    serde_json::from_value(saved.caller().clone()).map_err(|error| {
        Failure::Input(format!(
            "{} was not written by `gpt train`: {error}",
            saved.folder().display()
        ))
    })
}

fn model_of(arguments: &Arguments, saved: &SavedRun, run: &Run) -> Result<Chosen, Failure> {
    let trained = models::ALL.iter().find(|m| *(m.plan)().name == *saved.model());
    let keys = arguments.spec.as_deref().or(run.keys.as_deref());
    match (arguments.model, keys, trained) {
        (Some(given), ..) => Ok(given.into()),
        (None, Some(keys), _) => models::of_keys(saved.model(), keys),
        (None, None, Some(model)) => Ok(model.into()),
        (None, None, None) => Err(Failure::Input(format!(
            "{} is a checkpoint of {}, which is not built into gpt; pass its keys with --spec",
            saved.folder().display(),
            saved.model()
        ))),
    }
}

fn start(
    arguments: &Arguments,
    model: &Chosen,
    device: &Device,
    options: &Options,
    settings: TrainerSettings,
) -> Result<Trainer<Untyped>, Failure> {
    let plan = model.plan;
    Ok(match &arguments.weights {
        Some(path) => {
            let opened = weights::open(path, plan, Some(Format::F32))?;
            model.trainer(device, &opened, settings)?
        }
        None => {
            let random = RandomWeights::new(plan, options.seed(), Format::F32);
            model.trainer(device, &random, settings)?
        }
    })
}

/// Prints the sizes of the run and its memory.
fn introduce(plan: &Plan, text: &Text, settings: &TrainerSettings) -> Result<(), Failure> {
    eprintln!(
        "{}: {} parameters; {} tokens to learn from, {} to validate",
        plan.name,
        count(plan.params()),
        text.train.len(),
        text.validation.len()
    );
    let memory = plan.train_bytes(&settings.shape(plan.spec.context));
    let average = settings.ema.map(|_| ("average", 4 * plan.params()));
    let parts = train_parts(&memory).into_iter().chain(average);
    let total = memory.total().saturating_add(average.map_or(0, |(_, bytes)| bytes));
    let parts: Vec<String> = parts.map(|(name, n)| format!("{name} {}", bytes(n))).collect();
    let left = available_memory().map_or(String::new(), |n| format!(", {} free", bytes(n)));
    eprintln!("memory: {}: {}{left}", parts.join(", "), bytes(total));
    Ok(())
}
