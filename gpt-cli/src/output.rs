//! Prints results, JSON and failures.

use std::io::{ErrorKind, StdoutLock, Write};
use std::process::ExitCode;

use gpt_runtime::train::TrainBytes;

pub use gpt_runtime::__private::counted;

/// The failure of a subcommand.
pub enum Failure {
    /// An error of the runtime.
    Runtime(gpt_runtime::Error),
    /// Invalid arguments or files: one sentence, or the errors of a spec on several lines.
    Input(String),
    /// A failure that the user did not cause, such as a network error; one sentence.
    #[cfg(feature = "hub")]
    Failed(String),
    /// Standard output could not be written.
    Output(std::io::Error),
}

impl From<gpt_runtime::Error> for Failure {
    fn from(error: gpt_runtime::Error) -> Self {
        Failure::Runtime(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Output(error)
    }
}

impl Failure {
    /// Prints the failure and returns the exit status.
    pub fn report(self) -> ExitCode {
        let status = match &self {
            // The reader closed the pipe, as `head` does.
            Failure::Output(error) if error.kind() == ErrorKind::BrokenPipe => {
                return ExitCode::SUCCESS;
            }
            Failure::Output(_) => 1,
            Failure::Input(_) => 2,
            #[cfg(feature = "hub")]
            Failure::Failed(_) => 1,
            Failure::Runtime(error) => 1 + u8::from(error.is_input()),
        };
        eprintln!("error: {}", self.message());
        ExitCode::from(status)
    }

    /// The message: one sentence, except for the errors of a spec.
    pub fn message(self) -> String {
        match self {
            Failure::Output(error) => format!("cannot write the result: {error}"),
            Failure::Input(message) => message,
            #[cfg(feature = "hub")]
            Failure::Failed(message) => message,
            Failure::Runtime(error) => error.to_string(),
        }
    }
}

/// Standard output, locked.
pub fn stdout() -> StdoutLock<'static> {
    std::io::stdout().lock()
}

/// Prints a line of results.
pub fn line(out: &mut impl Write, text: &str) -> Result<(), Failure> {
    Ok(writeln!(out, "{text}")?)
}

/// Prints the JSON object of a command with `--json`.
pub fn json(value: &serde_json::Value) -> Result<(), Failure> {
    line(&mut stdout(), &value.to_string())
}

/// Formats `1234567` as `1.23 M`.
pub fn count(n: u64) -> String {
    scaled(n as f64, 1000.0, ["", " k", " M", " G", " T"])
}

/// Formats bytes in powers of 1024.
pub fn bytes(n: u64) -> String {
    scaled(n as f64, 1024.0, [" B", " KiB", " MiB", " GiB", " TiB"])
}

/// The bytes that training takes, by purpose.
pub fn train_parts(memory: &TrainBytes) -> [(&'static str, u64); 5] {
    [
        ("parameters", memory.parameters),
        ("gradients", memory.gradients),
        ("optimizer", memory.optimizer),
        ("activations", memory.activations),
        ("scratch", memory.scratch),
    ]
}

/// Formats a time as `1.23 s` or `4.56 ms`.
pub fn seconds(seconds: f64) -> String {
    match seconds < 1.0 {
        true => format!("{:.2} ms", seconds * 1e3),
        false => format!("{seconds:.2} s"),
    }
}

fn scaled(mut n: f64, base: f64, units: [&str; 5]) -> String {
    let mut unit = 0;
    while n >= base && unit + 1 < units.len() {
        n /= base;
        unit += 1;
    }
    let digits = match n {
        _ if unit == 0 => 0,
        n if n < 10.0 => 2,
        n if n < 100.0 => 1,
        _ => 0,
    };
    format!("{n:.digits$}{}", units[unit])
}

/// Median, minimum and maximum of some measurements.
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// # Panics
    /// Panics if there are no measurements.
    pub fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        let n = values.len();
        Spread {
            median: (values[(n - 1) / 2] + values[n / 2]) / 2.0,
            min: values[0],
            max: values[n - 1],
        }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_scaled() {
        assert_eq!(count(65), "65");
        assert_eq!(count(124_439_808), "124 M");
        assert_eq!(count(9_999), "10.00 k");
        assert_eq!(bytes(1536), "1.50 KiB");
        assert_eq!(bytes(154_389_504), "147 MiB");
    }

    #[test]
    fn a_median_is_in_the_middle() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0, 10.0]);
        assert_eq!((spread.median, spread.min, spread.max), (2.5, 1.0, 10.0));
    }
}
