//! Progress of a run: a bar on a terminal, otherwise a line from time to time.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// The least time between two lines.
const PAUSE: Duration = Duration::from_secs(10);

pub struct Progress {
    bar: ProgressBar,
    steps: u64,
    printed: Instant,
}

impl Progress {
    /// The progress of a run that has done `done` of `steps`.
    pub fn new(done: u64, steps: u64) -> Progress {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {msg}, {eta} left");
        let bar = ProgressBar::new(steps);
        bar.set_style(style.expect("the template is valid"));
        bar.set_message("starting");
        bar.set_position(done);
        bar.reset_eta();
        Progress { bar, steps, printed: Instant::now() }
    }

    /// Updates the progress after step `done`.
    pub fn step(&mut self, done: u64, loss: f64, tokens_a_second: f64) {
        let message = format!("loss {loss:.4}, {tokens_a_second:.0} tokens/s");
        if self.bar.is_hidden() && self.printed.elapsed() >= PAUSE {
            eprintln!("step {done} of {}: {message}", self.steps);
            self.printed = Instant::now();
        }
        self.bar.set_message(message);
        self.bar.set_position(done);
    }

    /// Shows `what` instead of the loss, while a run does something else between two steps.
    pub fn doing(&self, what: &'static str) {
        self.bar.set_message(what);
    }

    /// Prints a line that stays above the bar.
    pub fn say(&mut self, text: &str) {
        if self.bar.is_hidden() {
            eprintln!("{text}");
            self.printed = Instant::now();
        } else {
            self.bar.println(text);
        }
    }

    /// Hides the bar while `print` uses the terminal.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
