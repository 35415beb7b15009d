//! `gpt selftest`: compares a device with the CPU engine's plain Rust.

use clap::Args;
use gpt_runtime::Format;
use gpt_runtime::{Check, Error, SelfTest, self_test, self_test_training};
use serde_json::json;

use crate::models;
use crate::options::{self, DeviceArguments, ModelArgument};
use crate::output::{self, Failure};
use crate::progress::Spinner;

#[derive(Args)]
#[command(after_help = "Examples:
  gpt selftest --model gpt2
  gpt selftest --model nano --device cpu --dtype q8 --train")]
#[command(mut_arg("model", |model| model.help("A model built into gpt [default: bard]")))]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArgument,
    #[arg(long, value_name = "TYPE", value_parser = options::formats(), hide_possible_values = true)]
    #[arg(help = options::formats_help("every format"))]
    dtype: Option<Format>,
    /// Also tests training: the gradients of a batch
    #[arg(long)]
    train: bool,
    #[command(flatten)]
    device: DeviceArguments,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let device = arguments.device.open()?;
    eprintln!("testing {}: {}", device.name(), device.reason());
    let plan = arguments.model.choose(None)?.plan;
    let formats = match arguments.dtype {
        Some(format) => vec![format],
        None => Format::ALL.to_vec(),
    };
    let mut found: Option<SelfTest> = None;
    let mut take = |what: &str, some: SelfTest| {
        if !arguments.json {
            table(what, &some)?;
        }
        match &mut found {
            None => found = Some(some),
            Some(found) => {
                found.checks.extend(some.checks);
                found.skipped_formats.extend(some.skipped_formats);
            }
        }
        Ok::<_, Failure>(())
    };
    for format in formats {
        let spinner = Spinner::new(format!("testing {}", format.name()));
        let tested = self_test(plan, &device, &[format])?;
        drop(spinner);
        take(format.name(), tested)?;
    }
    if arguments.train {
        let spinner = Spinner::new("testing training");
        let tested = self_test_training(plan, &device)?;
        drop(spinner);
        take("training in f32", tested)?;
    }
    let Some(found) = found else { return Ok(()) };
    if arguments.json {
        report(&found)?;
    }
    let verdict = verdict(models::name_of(plan), &found)?;
    if !arguments.json {
        output::line(&mut output::stdout(), &verdict)?;
    }
    Ok(())
}

/// A sentence that says that the device can be trusted, or a failure that says why it cannot.
fn verdict(name: &str, found: &SelfTest) -> Result<String, Failure> {
    if let Some(off) = found.first_failed() {
        let tokens = if off.rows == 1 { "token" } else { "tokens" };
        return Err(Failure::Runtime(Error::device(format!(
            "{} cannot be trusted with {name}: {} of {} {tokens} in {} is off by an NMSE of {:.1e}, more than {:.0e}; use the CPU engine or another driver",
            found.device,
            off.step,
            off.rows,
            off.format.name(),
            off.error,
            off.bound
        ))));
    }
    if found.checks.is_empty() {
        return Err(Failure::Input(format!(
            "nothing was tested: {name} has no kernels for that format, because a matrix is larger than an adapter can bind"
        )));
    }
    let agree = if found.checks.len() == 1 { "agrees" } else { "agree" };
    Ok(format!(
        "{} can be trusted with {name}: {} {agree} with {}",
        found.device,
        output::counted(found.checks.len(), "step"),
        found.reference
    ))
}

/// Prints the steps of one format, or the gradients, each with the greatest error of any layer.
fn table(what: &str, found: &SelfTest) -> Result<(), Failure> {
    let mut out = output::stdout();
    for format in &found.skipped_formats {
        let text = format!(
            "{}: there are no kernels, because a matrix is larger than an adapter can bind",
            format.name()
        );
        output::line(&mut out, &text)?;
    }
    if let Some(first) = found.checks.first() {
        let text = format!("{what}, largest error allowed {:.0e}:", first.bound);
        output::line(&mut out, &text)?;
    }
    for worst in worst(found) {
        let text = format!(
            "  {:20} {:3} {:4}  {:8.1e}  {}",
            worst.step,
            worst.rows,
            if worst.rows == 1 { "row" } else { "rows" },
            worst.error,
            if worst.passed() { "ok" } else { "OFF" }
        );
        output::line(&mut out, &text)?;
    }
    Ok(())
}

/// The check with the greatest error for each step and number of rows, in execution order.
fn worst(found: &SelfTest) -> Vec<&Check> {
    let mut worst: Vec<&Check> = Vec::new();
    for check in &found.checks {
        let same = |other: &&mut &Check| other.step == check.step && other.rows == check.rows;
        match worst.iter_mut().find(same) {
            Some(known) if known.error < check.error => *known = check,
            Some(_) => {}
            None => worst.push(check),
        }
    }
    worst
}

fn report(found: &SelfTest) -> Result<(), Failure> {
    let checks: Vec<_> = found
        .checks
        .iter()
        .map(|c| {
            json!({
                "format": c.format.name(), "rows": c.rows, "step": c.step, "layer": c.layer,
                // JSON has no infinity.
                "error": if c.error.is_finite() { json!(c.error) } else { json!(null) },
                "bound": c.bound, "passed": c.passed(),
            })
        })
        .collect();
    let skipped: Vec<_> = found.skipped_formats.iter().map(|f| f.name()).collect();
    output::json(&json!({
        "device": found.device, "reference": found.reference,
        "trusted": found.first_failed().is_none() && !checks.is_empty(),
        "left_out": skipped, "checks": checks,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_with_errors_fails() {
        let check = |step, error| Check {
            format: Format::Q8,
            rows: 33,
            step,
            layer: 0,
            error,
            bound: 1e-10,
        };
        let mut found = SelfTest {
            device: "a GPU".to_owned(),
            reference: "plain Rust".to_owned(),
            checks: vec![check("qkv", 1e-12)],
            skipped_formats: Vec::new(),
        };
        let message = verdict("gpt2", &found).ok();
        let expected = "a GPU can be trusted with gpt2: 1 step agrees with plain Rust";
        assert_eq!(message.as_deref(), Some(expected));
        found.checks.push(check("attention", f64::INFINITY));
        found.checks.push(check("mlp_up", 1.0));
        let Err(Failure::Runtime(error)) = verdict("gpt2", &found) else {
            panic!("expected a failure of the runtime");
        };
        let message = error.to_string();
        assert!(
            message.starts_with("a GPU cannot be trusted with gpt2: attention of 33 tokens in q8"),
            "{message}"
        );
        assert!(!error.is_input());
        found.checks.clear();
        assert!(matches!(verdict("gpt2", &found), Err(Failure::Input(_))));
    }
}
