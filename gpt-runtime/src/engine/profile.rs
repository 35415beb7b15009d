//! How long the steps of a pass take, one by one, and what a device can do at most.

use gpt_plan::Format;

/// What a pass took, step by step.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Whose clock it was.
    pub clock: Clock,
    /// In the order they ran.
    pub steps: Vec<StepTime>,
    /// What choosing the next token under a cut (top-k of 40) took, step by step, name and seconds: after a pass of one token, where the device chooses.
    pub choice: Vec<(&'static str, f64)>,
}

/// Who measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The device, at the beginning and at the end of each step.
    Device,
    /// The host, from handing a step over alone until it was done: the way there and back is within.
    Host,
}

/// A step of a layer.
#[derive(Clone, Copy, Debug)]
pub struct StepTime {
    /// Its name in the plan.
    pub step: &'static str,
    /// The layer it ran for; 0 for steps outside of layers.
    pub layer: u32,
    /// How its matrix is stored; f32 where it has none.
    pub format: Format,
    pub seconds: f64,
}

/// What a step of training took, part by part: forward, back, the gradient's norm, the optimizer.
#[derive(Clone, Debug)]
pub struct TrainProfile {
    /// Whose clock it was.
    pub clock: Clock,
    /// In the order in which each ran first.
    pub parts: Vec<PartTime>,
}

/// All of a step that one kernel does, or on the CPU one step of the plan.
#[derive(Clone, Debug)]
pub struct PartTime {
    /// Its name in the plan.
    pub name: &'static str,
    /// How often it ran.
    pub times: usize,
    /// All times together.
    pub seconds: f64,
}

impl TrainProfile {
    pub(crate) fn new(clock: Clock) -> TrainProfile {
        TrainProfile {
            clock,
            parts: Vec::new(),
        }
    }

    /// Counts one more run of `name`.
    pub(crate) fn add(&mut self, name: &'static str, seconds: f64) {
        match self.parts.iter_mut().find(|part| part.name == name) {
            Some(part) => {
                part.times += 1;
                part.seconds += seconds;
            }
            None => self.parts.push(PartTime {
                name,
                times: 1,
                seconds,
            }),
        }
    }
}

/// What a device can do in a second, measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Bytes read from memory, of more than caches hold.
    pub bytes: f64,
    /// Operations of products with matrices in each of [`Format::ALL`], two for a multiplication with its addition.
    pub products: [f64; Format::ALL.len()],
}

impl Limits {
    /// Operations of products with matrices in `format`.
    pub fn of(&self, format: Format) -> f64 {
        let at = Format::ALL.iter().position(|f| *f == format);
        self.products[at.expect("every format is among all")]
    }
}
