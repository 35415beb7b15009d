//! `gpt train --validate-only`: the validation loss of a run's checkpoint or of other weights, as
//! the run would compute it. Trains nothing and writes nothing, so it takes no lock: the run may go
//! on meanwhile.

use gpt_runtime::train::{SavedRun, Trainer};
use gpt_runtime::weights;
use gpt_runtime::{Error, Format, Untyped};
use serde_json::json;

use super::options::Options;
use super::text::{Text, first_windows};
use super::{Arguments, Run, corpus, model_of, stored_run};
use crate::interrupt;
use crate::models::{self, Chosen};
use crate::output::{self, Failure};
use crate::progress::Spinner;

/// The mean loss of a validation text, and the number of predicted tokens that it is the mean of.
#[derive(Clone, Copy)]
pub struct Loss {
    pub mean: f64,
    pub tokens: usize,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    interrupt::listen();
    let saved = saved(arguments)?;
    let known = saved.as_ref().map(stored_run).transpose()?;
    let model = match (&saved, &known) {
        (Some(saved), Some(known)) => model_of(arguments, saved, known)?,
        _ => {
            let (spec, weights) = (arguments.spec.as_deref(), arguments.weights.as_deref());
            models::choose(arguments.model, spec, weights)?
        }
    };
    let options = match &known {
        None => Options { tuned: true, ..arguments.options.clone() },
        Some(known) => arguments.options.clone().over(&known.options)?,
    };
    options.check_objective(model.plan)?;
    let text = text(arguments, &model, known.as_ref(), &options)?;
    let mut settings = options.settings(model.plan, &text.tokenizer)?;
    // If the run has an average, its file is opened below in place of the weights.
    let averages = settings.ema.take().is_some();
    let windows = options.eval_windows();
    if windows == 0 || text.validation.len() < 2 {
        return Err(Failure::Input(format!(
            "there is nothing to validate: the last tenth of the text has {}, and --eval-windows is {windows}",
            output::counted(text.validation.len(), "token")
        )));
    }
    let device = arguments.device.open()?;
    eprintln!("running on {}: {}", device.name(), device.reason());
    let spinner = Spinner::new("preparing the model");
    let path = match (&arguments.weights, &saved) {
        (Some(path), _) => path.clone(),
        (None, Some(saved)) => {
            let average = saved.average().filter(|_| averages);
            average.unwrap_or_else(|| saved.folder().join("model.safetensors"))
        }
        (None, None) => return Err(nothing()),
    };
    let opened = weights::open(&path, model.plan, Some(Format::F32))?;
    let mut trainer = model.trainer(&device, &opened, settings)?;
    drop(spinner);
    let spinner = Spinner::new("validating");
    let loss = loss(&mut trainer, &text, windows)?;
    drop(spinner);
    let Some(loss) = loss else {
        eprintln!("stopped before the end of the validation text");
        return Ok(());
    };
    if !loss.mean.is_finite() {
        let (path, mean) = (path.display(), loss.mean);
        return Err(Failure::Runtime(Error::Diverged(format!(
            "the validation loss of {path} is {mean}"
        ))));
    }
    if arguments.json {
        let step = saved.filter(|_| arguments.weights.is_none()).map(|saved| saved.step());
        return output::json(&json!({
            "weights": path, "step": step, "val_loss": loss.mean, "tokens": loss.tokens,
            "device": device.name(),
        }));
    }
    let (tokens, path) = (output::counted(loss.tokens, "token"), path.display());
    let line = format!("validation loss {:.4} nats per token of {path}, {tokens}", loss.mean);
    output::line(&mut output::stdout(), &line)
}

/// The checkpoint of the run in `--out`. None without `--out`.
fn saved(arguments: &Arguments) -> Result<Option<SavedRun>, Failure> {
    let Some(out) = &arguments.out else {
        return match arguments.weights.is_some() && !arguments.data.is_empty() {
            true => Ok(None),
            false => Err(nothing()),
        };
    };
    let saved = SavedRun::latest(out)?;
    let none = || Failure::Input(format!("{} has no checkpoint to validate", out.display()));
    saved.map(Some).ok_or_else(none)
}

fn nothing() -> Failure {
    Failure::Input(
        "--validate-only validates a run (--out DIR), or --weights with a text (--data)".to_owned(),
    )
}

/// The text of the run, or of `--data`.
fn text(
    arguments: &Arguments,
    model: &Chosen,
    known: Option<&Run>,
    options: &Options,
) -> Result<Text, Failure> {
    let plan = model.plan;
    let Some(known) = known else {
        return Text::read(arguments, plan, &arguments.data, options, false);
    };
    if arguments.data.is_empty()
        && let Some(text) = Text::saved(arguments, plan, known.fingerprint)?
    {
        return Ok(text);
    }
    let paths = match arguments.data.is_empty() {
        true => known.data.paths(),
        false => &arguments.data,
    };
    let text = Text::read(arguments, plan, paths, options, true)?;
    if text.fingerprint() != known.fingerprint {
        return Err(Failure::Input(format!(
            "{} is not the text of the run; pass that text, or validate --weights without --out",
            corpus::names(paths)
        )));
    }
    Ok(text)
}

/// The loss of the first `windows` windows of the validation text. None if Ctrl-C was pressed or
/// there is no window.
pub fn loss(
    trainer: &mut Trainer<Untyped>,
    text: &Text,
    windows: usize,
) -> Result<Option<Loss>, Failure> {
    let (batch, tokens) = (trainer.settings().batch as usize, trainer.tokens() as usize);
    let text = first_windows(&text.validation, windows, tokens);
    let objective = trainer.settings().objective;
    let (mut sum, mut targets, mut sequences) = (0.0, 0, 0);
    for batch in text.windows(batch, tokens) {
        if interrupt::pending() {
            break;
        }
        let batch = objective.validation(batch, sequences);
        sum += trainer.loss(&batch)? * batch.counted() as f64;
        targets += batch.counted();
        sequences += batch.sequences() as u64;
    }
    let whole = targets > 0 && !interrupt::pending();
    Ok(whole.then(|| Loss { mean: sum / targets as f64, tokens: targets }))
}
