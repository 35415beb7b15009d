//! Shows the progress of work that takes longer than a second, on standard error if that is a
//! terminal. The display is erased when the work is done.

use std::collections::HashSet;
use std::io::{IsTerminal, stderr};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use gpt_runtime::weights::{HostTensor, Weights};
use gpt_runtime::{Error, Format, Plan, Progress, TensorId};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The time before anything is shown. Most commands are faster.
const PATIENCE: Duration = Duration::from_secs(1);

/// The time between two frames of a spinner.
const TICK: Duration = Duration::from_millis(100);

/// A bar for work of known length. It is erased when it is dropped.
pub struct Bar {
    total: u64,
    template: &'static str,
    start: Instant,
    shown: OnceLock<ProgressBar>,
}

impl Bar {
    /// A bar of `total` units. `template` is indicatif's: `{bar:30} {pos}/{len} windows, {msg}`.
    pub fn new(total: u64, template: &'static str) -> Bar {
        Bar { total, template, start: Instant::now(), shown: OnceLock::new() }
    }

    /// Shows a line without motion at once, for work that is timed and that nothing may disturb.
    pub fn still(text: &'static str) -> Bar {
        let bar = Bar::new(0, text);
        bar.shown().tick();
        bar
    }

    /// Moves the bar to `done`, and shows it if the work has taken longer than a second.
    pub fn set(&self, done: u64) {
        self.set_with(done, String::new);
    }

    /// Like [`set`](Self::set), with the template's message.
    pub fn set_with(&self, done: u64, message: impl FnOnce() -> String) {
        if self.shown.get().is_none() && self.start.elapsed() < PATIENCE {
            return;
        }
        let bar = self.shown();
        bar.set_message(message());
        bar.set_position(done);
    }

    fn shown(&self) -> &ProgressBar {
        self.shown.get_or_init(|| {
            ProgressBar::with_draw_target(Some(self.total), ProgressDrawTarget::stderr())
                .with_style(style(self.template))
                .with_elapsed(self.start.elapsed())
        })
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.shown.get() {
            bar.finish_and_clear();
        }
    }
}

/// A spinner with the elapsed time, for work of unknown length. It is erased when it is dropped.
pub struct Spinner {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Spinner {
    /// Shows `what`, such as "reading 2000 tokens", if the work takes longer than a second.
    pub fn new(what: impl Into<String>) -> Spinner {
        let what = what.into();
        let (stop, stopped) = mpsc::channel::<()>();
        let start = Instant::now();
        let spin = move || {
            if stopped.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
                .with_style(style("{spinner} {msg}, {elapsed}"))
                .with_elapsed(start.elapsed())
                .with_message(what);
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                spinner.tick();
            }
            spinner.finish_and_clear();
        };
        Spinner { thread: stderr().is_terminal().then(|| thread::spawn(spin)), stop: Some(stop) }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        // The thread ends when its channel is closed.
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is valid")
}

/// The progress callback of [`LoadOptions`](gpt_runtime::LoadOptions): it draws a bar.
pub fn loading() -> Progress {
    let bar: Mutex<Option<Bar>> = Mutex::new(None);
    Progress::new(move |done, total| {
        let Ok(mut bar) = bar.lock() else { return };
        let shown =
            bar.get_or_insert_with(|| Bar::new(total, "loading {bar:30} {bytes} of {total_bytes}"));
        shown.set(done);
        if done == total {
            *bar = None;
        }
    })
}

/// Weights with a bar that shows how many of their tensors were read.
pub struct Watched<'a> {
    weights: &'a dyn Weights,
    bar: Bar,
    seen: Mutex<HashSet<(TensorId, u32)>>,
}

impl<'a> Watched<'a> {
    pub fn new(plan: &Plan, weights: &'a dyn Weights) -> Watched<'a> {
        let tensors = plan.tensors.iter().filter(|t| !t.sources.is_empty());
        let total = tensors.map(|tensor| plan.count(tensor)).sum();
        Watched {
            weights,
            bar: Bar::new(total, "writing {bar:30} {pos}/{len} tensors"),
            seen: Mutex::default(),
        }
    }
}

impl Weights for Watched<'_> {
    fn tensor(&self, id: TensorId, layer: u32) -> Result<HostTensor<'_>, Error> {
        if let Ok(mut seen) = self.seen.lock() {
            seen.insert((id, layer));
            self.bar.set(seen.len() as u64);
        }
        self.weights.tensor(id, layer)
    }

    fn format(&self, id: TensorId, layer: u32) -> Format {
        self.weights.format(id, layer)
    }
}
