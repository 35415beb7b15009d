//! Writes `log.jsonl`: a line for every few steps, in the order of steps even if the run was
//! resumed.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use gpt_runtime::__private::files;
use gpt_runtime::Error;
use serde::{Deserialize, Serialize};

use crate::output::Failure;

pub const NAME: &str = "log.jsonl";

/// `gpt plot` refuses losses above this, because a picture of them shows nothing.
const MOST_LOSS: f64 = 1e30;

/// A line of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    pub step: u64,
    /// The mean loss over the steps since the previous line.
    pub loss: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_loss: Option<f64>,
    pub lr: f32,
    pub grad_norm: f64,
    /// The loss scale; only in f16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f32>,
    pub tok_s: f64,
    /// A text that the model generated after this step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<String>,
}

/// The file and its lines.
pub struct Log {
    file: File,
    path: PathBuf,
    pub lines: Vec<Line>,
}

/// The lines of the log in `out`; none if there is no log.
fn read(out: &Path) -> Result<Vec<Line>, Failure> {
    let path = out.join(NAME);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text, &path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(Log::failed("read", &path, source).into()),
    }
}

/// The lines of the log at `path`, whose losses must be numbers that a picture can show.
pub fn check(path: &Path) -> Result<Vec<Line>, Failure> {
    let lines = parse(&files::read_text(path)?, path)?;
    for (number, line) in (1..).zip(&lines) {
        let mut losses = [Some(line.loss), line.val_loss].into_iter().flatten();
        if let Some(loss) = losses.find(|loss| !(0.0..=MOST_LOSS).contains(loss)) {
            return Err(no_line(number, path, &format!("its loss is {loss:e}")));
        }
    }
    Ok(lines)
}

fn no_line(number: usize, path: &Path, what: &dyn std::fmt::Display) -> Failure {
    Failure::Input(format!(
        "line {number} of {} is not a line of a training log: {what}",
        path.display()
    ))
}

/// The lines of the log at `path`, which must be in the order of steps. Only the last line may be
/// incomplete: its run may be writing it, or ended meanwhile.
fn parse(text: &str, path: &Path) -> Result<Vec<Line>, Failure> {
    let mut lines: Vec<Line> = Vec::new();
    for (number, text) in (1..).zip(text.split_inclusive('\n')) {
        let failed = |what: &dyn std::fmt::Display| no_line(number, path, what);
        let line: Line = match serde_json::from_str(text) {
            Ok(line) => line,
            Err(_) if !text.ends_with('\n') => break,
            Err(error) => {
                // The message ends with a place, which counts lines from this one.
                let text = error.to_string();
                let what = text.split_once(" at line ").map_or(&*text, |(what, _)| what);
                return Err(failed(&what));
            }
        };
        if lines.last().is_some_and(|before| before.step >= line.step) {
            return Err(failed(&format!("its step, {}, is not after the one before", line.step)));
        }
        lines.push(line);
    }
    Ok(lines)
}

/// Whether the log in `out` has the line of `step`.
pub fn has(out: &Path, step: u64) -> Result<bool, Failure> {
    Ok(read(out)?.iter().any(|line| line.step == step))
}

impl Log {
    /// Opens the log in `out` and removes the lines after `step`, from which the run resumes.
    pub fn open(out: &Path, step: u64) -> Result<Log, Failure> {
        let path = out.join(NAME);
        // The file is written again, because its last line may be incomplete.
        let lines: Vec<Line> =
            read(out)?.into_iter().take_while(|line| line.step <= step).collect();
        let text: String = lines.iter().map(text).collect();
        files::write(&path, &text)?;
        let file = OpenOptions::new().append(true).open(&path);
        Ok(Log { file: file.map_err(|e| Log::failed("write", &path, e))?, path, lines })
    }

    pub fn add(&mut self, line: Line) -> Result<(), Error> {
        let written = self.file.write_all(text(&line).as_bytes());
        written.map_err(|e| Log::failed("write", &self.path, e))?;
        self.lines.push(line);
        Ok(())
    }

    fn failed(doing: &'static str, path: &Path, source: std::io::Error) -> Error {
        Error::Io { doing, path: path.to_owned(), source }
    }
}

fn text(line: &Line) -> String {
    serde_json::to_string(line).expect("numbers are JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_where_the_run_does() {
        let folder = tempfile::tempdir().unwrap();
        let line = |step| Line {
            step,
            loss: 1.0,
            val_loss: (step == 20).then_some(2.0),
            lr: 1e-3,
            grad_norm: 0.5,
            loss_scale: None,
            tok_s: 100.0,
            sample: (step == 20).then(|| "a\n\"b\u{1b}".to_owned()),
        };
        let mut log = Log::open(folder.path(), 0).ok().unwrap();
        for step in [10, 20, 30] {
            log.add(line(step)).unwrap();
        }
        drop(log);
        let path = folder.path().join("log.jsonl");
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"step\":40,\"lo");
        std::fs::write(&path, text).unwrap();
        let mut log = Log::open(folder.path(), 20).ok().unwrap();
        assert_eq!(log.lines[1].val_loss, Some(2.0));
        assert_eq!(log.lines[1].sample.as_deref(), Some("a\n\"b\u{1b}"));
        log.add(line(31)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let steps: Vec<u64> =
            text.lines().map(|l| serde_json::from_str::<Line>(l).unwrap().step).collect();
        assert_eq!(steps, [10, 20, 31]);
        assert!(!text.contains("null"));
    }
}
