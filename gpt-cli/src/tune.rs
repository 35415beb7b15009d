//! `gpt tune`: finds the fastest kernel variants of a model for a GPU, and saves the choice.

use clap::Args;
use gpt_runtime::Format;
use gpt_runtime::{Choice, Device, DeviceKind, DeviceOptions, Error, Tuning, tune, tune_training};
use serde_json::json;

use crate::options::{self, ModelArgument};
use crate::output::{self, Failure};
use crate::progress::Spinner;

#[derive(Args)]
#[command(after_help = "Examples:
  gpt tune --model smollm2-135m
  gpt tune --model gpt2 --dtype q8")]
#[command(mut_arg("model", |model| model.help("A model built into gpt [default: bard]")))]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArgument,
    /// Index, PCI id or part of the name of a GPU adapter
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    #[arg(long, value_name = "TYPE", value_parser = options::formats(), hide_possible_values = true)]
    #[arg(help = options::formats_help("every format, then training"))]
    dtype: Option<Format>,
    /// Measures only the kernels of training
    #[arg(long, conflicts_with = "dtype")]
    train: bool,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let device = Device::open(&DeviceOptions {
        kind: DeviceKind::Gpu,
        adapter: arguments.adapter.clone(),
        threads: None,
    })?;
    eprintln!("measuring {}", device.name());
    let plan = arguments.model.choose(None)?.plan;
    let formats = match arguments.dtype {
        Some(format) => vec![format],
        None if arguments.train => Vec::new(),
        None => Format::ALL.to_vec(),
    };
    let mut all: Vec<Choice> = Vec::new();
    let mut path = None;
    let mut take = |found: Tuning, what: &str| {
        if !arguments.json {
            table(what, &found.choices)?;
        }
        all.extend(found.choices);
        path = Some(found.path.display().to_string());
        Ok::<_, Failure>(())
    };
    for format in formats {
        let what = format!("{}, prompts", format.name());
        let spinner = Spinner::new(format!("measuring {}", format.name()));
        let found = tune(plan, &device, &[format])?;
        drop(spinner);
        take(found, &what)?;
    }
    if arguments.dtype.is_none() {
        let spinner = Spinner::new("measuring training");
        let found = tune_training(plan, &device)?;
        drop(spinner);
        take(found, "training, batches")?;
    }
    if arguments.json {
        let choices: Vec<_> = all
            .iter()
            .map(|c| {
                json!({
                    "kernel": c.kernel, "rows": c.rows, "features": c.features.names(), "ms": c.seconds * 1e3,
                    "default_ms": c.default * 1e3,
                })
            })
            .collect();
        return output::json(&json!({ "device": device.name(), "kept": path, "choices": choices }));
    }
    if all.is_empty() {
        return Err(Failure::Runtime(Error::device(format!(
            "nothing was measured: {} has no kernels for that format, because a matrix is larger than an adapter can bind",
            crate::models::name_of(plan)
        ))));
    }
    let path = path.unwrap_or_default();
    output::line(
        &mut output::stdout(),
        &format!("saved in {path}, for every program that runs these kernels on this adapter"),
    )
}

/// Prints the choices in the order of measurement.
fn table(what: &str, choices: &[Choice]) -> Result<(), Failure> {
    let mut out = output::stdout();
    if let Some(first) = choices.first() {
        let text = format!(
            "{what} of {} tokens; each time is that of all steps of a kernel, in the first layers only:",
            first.rows
        );
        output::line(&mut out, &text)?;
    }
    for choice in choices {
        let gain = if choice.seconds < choice.default {
            format!(
                "{:9.3} ms, {:.2}x  {}",
                choice.seconds * 1e3,
                choice.default / choice.seconds,
                choice.features.names()
            )
        } else {
            "       the default is the fastest".to_owned()
        };
        let text = format!("  {:28} {:9.3} ms  {gain}", choice.kernel, choice.default * 1e3);
        output::line(&mut out, &text)?;
    }
    Ok(())
}
