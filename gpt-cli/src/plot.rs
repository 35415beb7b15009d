//! `gpt plot`: draws the losses of several training runs into one picture.
//!
//! It reads the `log.jsonl` of each run and writes nothing but the picture. A run that is still
//! training can be drawn, too: the last line of its log may be incomplete.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::Args;
use gpt_runtime::Error;
use serde_json::json;

use crate::output::{self, Failure};
use crate::train::curve::{self, MOST_RUNS};
use crate::train::log::{self, Line};

#[derive(Args)]
#[command(after_help = "Examples:
  gpt plot run
  gpt plot lr-3e-4 lr-1e-3 --out rates.svg")]
pub struct Arguments {
    /// Folders that `gpt train` wrote, or their files log.jsonl
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// The picture, an SVG file
    #[arg(long, value_name = "FILE", default_value = "losses.svg")]
    out: PathBuf,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (paths, out) = (&arguments.runs, &arguments.out);
    if out.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("svg")) {
        return Err(Failure::Input(format!(
            "{} would be an SVG file under another name; end the name with .svg",
            out.display()
        )));
    }
    if paths.len() > MOST_RUNS {
        return Err(Failure::Input(format!(
            "{} runs are too many for one picture; name at most {MOST_RUNS}",
            paths.len()
        )));
    }
    let logs: Vec<Vec<Line>> = paths.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
    let names = names(paths);
    let pairs = || names.iter().zip(&logs);
    let runs: Vec<_> = pairs().map(|(name, lines)| curve::Run { name, lines }).collect();
    curve::compare(out, &runs)?;
    if arguments.json {
        let runs: Vec<_> = pairs()
            .map(|(name, lines)| {
                let last = &lines[lines.len() - 1];
                let best = best(lines);
                json!({
                    "name": name, "steps": last.step, "loss": last.loss,
                    "best_step": best.map(|(step, _)| step),
                    "best_val_loss": best.map(|(_, loss)| loss),
                })
            })
            .collect();
        return output::json(&json!({ "out": out, "runs": runs }));
    }
    let mut stdout = output::stdout();
    for (name, lines) in pairs() {
        let last = &lines[lines.len() - 1];
        let validated = match best(lines) {
            Some((step, loss)) => format!("best validation loss {loss:.4} at step {step}"),
            None => "not validated".to_owned(),
        };
        let steps = output::counted(last.step as usize, "step");
        let text = format!("{name}: {steps}, training loss {:.4}, {validated}", last.loss);
        output::line(&mut stdout, &text)?;
    }
    output::line(&mut stdout, &format!("the curves are in {}", out.display()))
}

/// The lines of the log of a run.
fn read(path: &Path) -> Result<Vec<Line>, Failure> {
    let path = if path.is_dir() { path.join(log::NAME) } else { path.to_owned() };
    let lines = log::check(&path).map_err(|failure| match failure {
        Failure::Runtime(Error::Io { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            Failure::Input(format!(
                "there is no {}; name a folder that gpt train wrote",
                path.display()
            ))
        }
        failure => failure,
    })?;
    match lines.is_empty() {
        true => Err(Failure::Input(format!(
            "{} has no complete line yet; a run writes one every ten steps",
            path.display()
        ))),
        false => Ok(lines),
    }
}

/// The names of the runs: the last part of each path. If two of them are equal, whole paths.
fn names(paths: &[PathBuf]) -> Vec<String> {
    let folder = |path: &PathBuf| {
        let named = if path.ends_with(log::NAME) { path.parent() } else { Some(path.as_path()) };
        let name = named.and_then(Path::file_name);
        name.map_or_else(|| path.display().to_string(), |name| name.display().to_string())
    };
    let short: Vec<String> = paths.iter().map(folder).collect();
    let distinct = short.iter().collect::<HashSet<_>>().len() == short.len();
    match distinct {
        true => short,
        false => paths.iter().map(|path| path.display().to_string()).collect(),
    }
}

/// The lowest validation loss, and its step.
fn best(lines: &[Line]) -> Option<(u64, f64)> {
    let losses = lines.iter().filter_map(|line| Some((line.step, line.val_loss?)));
    losses.min_by(|a, b| a.1.total_cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_named_after_their_folders() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(names(&paths(&["a/one", "b/two/", "c/log.jsonl"])), ["one", "two", "c"]);
        assert_eq!(names(&paths(&["a/run", "b/run"])), ["a/run", "b/run"]);
        assert_eq!(names(&paths(&["..", "log.jsonl"])), ["..", "log.jsonl"]);
    }
}
