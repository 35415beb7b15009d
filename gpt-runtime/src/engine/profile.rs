//! The times of the steps of a pass, and the peak rates of a device.

use gpt_plan::Format;

/// The time of each step of a pass.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Profile {
    /// The clock that measured the times.
    pub clock: Clock,
    /// The steps, in the order they ran.
    pub steps: Vec<StepTime>,
    /// Name and seconds of each step of sampling (top-k of 40), after a pass of one token on an
    /// engine that samples on the device.
    pub sampling: Vec<(&'static str, f64)>,
}

/// The clock of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clock {
    /// Timestamps of the device at the beginning and the end of each step.
    Device,
    /// The host's clock. On a GPU, each step is submitted alone, so its time includes the round
    /// trip.
    Host,
}

/// The time of one step of a pass.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StepTime {
    /// Its name in the plan.
    pub step: &'static str,
    /// The layer it ran for; 0 for steps outside of layers.
    pub layer: u32,
    /// The format of its matrix; f32 if it has none.
    pub format: Format,
    /// Its time, in seconds.
    pub seconds: f64,
}

/// The times of a training step: the forward and backward passes, the norm of the gradient, and the
/// optimizer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TrainProfile {
    /// The clock that measured the times.
    pub clock: Clock,
    /// The kernels or steps, in the order in which they first ran.
    pub times: Vec<KernelTime>,
}

/// The time of one kernel (on a GPU) or one step of the plan (on a CPU) in a training step.
#[derive(Clone, Debug)]
pub struct KernelTime {
    /// Its name in the plan; on a CPU, `update` is the optimizer.
    pub name: &'static str,
    /// Number of runs.
    pub runs: usize,
    /// Total time of all runs, in seconds.
    pub seconds: f64,
}

impl TrainProfile {
    pub(crate) fn new(clock: Clock) -> TrainProfile {
        TrainProfile { clock, times: Vec::new() }
    }

    /// Counts one more run of `name`.
    pub(crate) fn add(&mut self, name: &'static str, seconds: f64) {
        match self.times.iter_mut().find(|time| time.name == name) {
            Some(time) => {
                time.runs += 1;
                time.seconds += seconds;
            }
            None => self.times.push(KernelTime { name, runs: 1, seconds }),
        }
    }
}

/// The time that a GPU takes for work that computes next to nothing, in seconds.
///
/// Decoding a small model is a chain of dependent dispatches, so it is bound by these times, not by
/// the peak rates.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Latency {
    /// A dispatch that depends on no other, among many in a pass.
    pub dispatch: f64,
    /// A dispatch that reads what the one before it wrote, with the barrier between them.
    pub dependent: f64,
    /// Recording and submitting a pass of one dispatch, until the host sees its end.
    pub submit: f64,
    /// As `submit`, plus reading four bytes of the result.
    pub round_trip: f64,
    /// The clock that measured `dispatch` and `dependent`; the others are the host's.
    pub clock: Clock,
}

/// Measured peak rates of a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeakRates {
    /// Bytes per second read from memory, measured on more data than the caches hold.
    pub bytes: f64,
    /// Operations per second of matrix products in each of [`Format::ALL`]; a multiply-add counts
    /// as two.
    pub products: [f64; Format::ALL.len()],
}

impl PeakRates {
    /// Operations per second of matrix products in `format`.
    pub fn of(&self, format: Format) -> f64 {
        let at = Format::ALL.iter().position(|f| *f == format);
        self.products[at.expect("every format is among all")]
    }
}
