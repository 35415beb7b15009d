//! `gpt report`: tests and measures a device, and writes a report to paste into an issue.
//!
//! `measure` has the measurements, `section` their tables. A measurement that fails becomes a row
//! with its error, and the others still run.

mod measure;
mod section;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use gpt_runtime::__private::files;
use gpt_runtime::profile::PeakRates;
use gpt_runtime::{Device, Format};
use serde_json::json;

use self::measure::Work;
use self::section::Section;
use crate::interrupt;
use crate::models::{self, BuiltIn};
use crate::options::{self, DeviceArguments};
use crate::output::{self, Failure};
use crate::progress::Bar;

#[derive(Args)]
#[command(after_help = "Examples:
  gpt report --out report.md
  gpt report --model nano --dtype f32 --device cpu --json")]
pub struct Arguments {
    /// A model to measure; may be repeated [default: bard, nano, gpt2, smollm2-135m]
    #[arg(long, value_parser = models::named())]
    model: Vec<&'static BuiltIn>,
    #[arg(long, value_name = "TYPE", value_parser = options::formats(), hide_possible_values = true)]
    #[arg(help = options::formats_help("every format"))]
    dtype: Option<Format>,
    /// Skips tuning, which finds the fastest variants of kernels and saves them, as gpt tune does
    #[arg(long)]
    no_tune: bool,
    /// File for the report, in Markdown [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArguments,
    /// Prints the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// The models that are measured by default.
const MODELS: [&str; 4] = ["bard", "nano", "gpt2", "smollm2-135m"];

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let start = Instant::now();
    let device = arguments.device.open()?;
    eprintln!("measuring {}: {}", device.name(), device.reason());
    interrupt::listen();
    let (limits, peak) = measure::limits(&device);
    let mut report = Report {
        out: arguments.out.as_deref(),
        machine: measure::machine(&device)?,
        limits,
        tests: measure::tests(),
        speeds: measure::speeds(),
        training: measure::training_speeds(),
        tunings: measure::tunings(),
    };
    let jobs = jobs(arguments, &device, peak);
    // The bar is drawn only between measurements, so it takes no time from them.
    let bar = Bar::new(jobs.len() as u64, "{bar:30} {pos}/{len} {msg}");
    let all = jobs.len();
    let mut missing = None;
    for (done, (name, job)) in jobs.into_iter().enumerate() {
        let rest = format!("{done} of {all} measurements done; the next one is {name}");
        // If a driver ends the process, the file has what was measured before.
        report.save(Some(&rest))?;
        if interrupt::take() {
            missing = Some(rest);
            break;
        }
        bar.set_with(done as u64, || name);
        job(&mut report);
    }
    drop(bar);
    let seconds = start.elapsed().as_secs();
    report.machine.row(json!({ "what": "seconds that this report took", "value": seconds }));
    report.save(missing.as_deref())?;
    if let Some(path) = report.out {
        eprintln!("wrote {}", path.display());
    }
    match (arguments.json, report.out) {
        (true, _) => output::json(&section::json(report.sections())),
        (false, Some(_)) => Ok(()),
        (false, None) => {
            let text = section::markdown(report.sections(), missing.as_deref());
            output::line(&mut output::stdout(), text.trim_end())
        }
    }
}

struct Report<'a> {
    /// The file to write, if there is one.
    out: Option<&'a Path>,
    machine: Section,
    limits: Section,
    tests: Section,
    speeds: Section,
    training: Section,
    tunings: Section,
}

impl Report<'_> {
    fn sections(&self) -> [&Section; 6] {
        let Report { machine, limits, tests, speeds, training, tunings, .. } = self;
        [machine, limits, tests, speeds, training, tunings]
    }

    /// Writes the file, if there is one. If the report is incomplete, `missing` says what is
    /// missing.
    fn save(&self, missing: Option<&str>) -> Result<(), Failure> {
        match self.out {
            Some(path) => Ok(files::write(path, &section::markdown(self.sections(), missing))?),
            None => Ok(()),
        }
    }
}

/// A measurement, with its name for the progress bar.
type Job<'a> = (String, Box<dyn FnOnce(&mut Report<'_>) + 'a>);

/// The measurements of models, in order. The tests come first, because they tell whether the speeds
/// mean anything.
fn jobs<'a>(arguments: &'a Arguments, device: &'a Device, peak: PeakRates) -> Vec<Job<'a>> {
    let models: Vec<&'static BuiltIn> = match arguments.model.is_empty() {
        true => models::ALL.iter().filter(|model| MODELS.contains(&model.name)).collect(),
        false => arguments.model.clone(),
    };
    let formats = arguments.dtype.map_or(Format::ALL.to_vec(), |format| vec![format]);
    let work = Work::of(device);
    let mut jobs: Vec<Job<'a>> = Vec::new();
    let name = |what: &str, model: &BuiltIn, of: &str| format!("{what} {} {of}", model.name);
    for &model in &models {
        for &format in &formats {
            let test = move |report: &mut Report<'_>| {
                report.tests.row(measure::test(model, device, format));
            };
            jobs.push((name("testing", model, format.name()), Box::new(test)));
        }
        let test = |report: &mut Report<'_>| {
            report.tests.row(measure::test_training(model, device));
        };
        jobs.push((name("testing", model, "training"), Box::new(test)));
    }
    for &model in &models {
        for &format in &formats {
            let speed = move |report: &mut Report<'_>| {
                report.speeds.row(measure::speed(model, device, format, (work, &peak)));
            };
            jobs.push((name("measuring", model, format.name()), Box::new(speed)));
        }
        for precision in measure::precisions(device) {
            let speed = move |report: &mut Report<'_>| {
                let row = measure::training_speed(model, device, precision, (work, &peak));
                report.training.row(row);
            };
            jobs.push((name("measuring", model, "training"), Box::new(speed)));
        }
    }
    let tunes = device.is_gpu() && !arguments.no_tune;
    for &model in models.iter().filter(|model| tunes && work.tunes(model)) {
        for format in [Some(arguments.dtype.unwrap_or(Format::F32)), None] {
            let tune = move |report: &mut Report<'_>| {
                let rows = measure::tuned(model, device, format);
                rows.into_iter().for_each(|row| report.tunings.row(row));
            };
            jobs.push((
                name("tuning", model, format.map_or("training", Format::name)),
                Box::new(tune),
            ));
        }
    }
    jobs
}
