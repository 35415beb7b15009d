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
