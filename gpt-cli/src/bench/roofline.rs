//! Compares a speed with the measured peak of the machine: bytes read or operations done in a
//! second.
//!
//! `gpt bench` measures the peak between the repetitions of the work; on a CPU, on the same
//! threads.

use gpt_runtime::Format;
use gpt_runtime::profile::PeakRates;
use gpt_runtime::{Model, Untyped};
use serde_json::{Value, json};

use crate::output::Spread;

/// What bounds a speed.
#[derive(Clone, Copy)]
pub enum Bound {
    /// Decoding reads all weights and the whole cache for each token.
    Memory,
    /// A prompt or a training batch uses each weight for many tokens.
    Arithmetic,
}

/// A speed relative to its bound.
pub struct Roofline {
    bound: Bound,
    /// Mean bytes or floating-point operations of a token.
    work: f64,
    /// Bytes or operations a second.
    reached: f64,
    limit: f64,
}

impl Roofline {
    /// The roofline of a prompt of `tokens` tokens.
    pub fn prefill(model: &Model<Untyped>, tokens: u64, speed: f64, limits: &PeakRates) -> Self {
        let work = model.plan().flops(0, tokens, 1) as f64 / tokens as f64;
        Self::new(Bound::Arithmetic, work, speed, limits.of(model.format()))
    }

    /// The roofline of decoding `tokens` tokens after `position` others, with `cache` bytes a
    /// position.
    pub fn decode(
        model: &Model<Untyped>,
        (position, tokens): (u64, u64),
        cache: u64,
        speed: f64,
        limits: &PeakRates,
    ) -> Self {
        let seen = position as f64 + (tokens as f64 + 1.0) / 2.0;
        let work = model.weight_bytes_per_token() as f64 + cache as f64 * seen;
        Self::new(Bound::Memory, work, speed, limits.bytes)
    }

    /// The roofline of training on sequences of `tokens` tokens with products in `format`. The
    /// backward pass takes twice the operations of the forward pass.
    pub fn train(
        model: &Model<Untyped>,
        (tokens, format): (u64, Format),
        speed: f64,
        limits: &PeakRates,
    ) -> Self {
        let work = 3.0 * model.plan().flops(0, tokens, tokens) as f64 / tokens as f64;
        Self::new(Bound::Arithmetic, work, speed, limits.of(format))
    }

    fn new(bound: Bound, work: f64, speed: f64, limit: f64) -> Self {
        Roofline { bound, work, reached: work * speed, limit }
    }

    /// Formats the roofline as `25.1 of 27.4 GB/s, 92 %`.
    pub fn text(&self) -> String {
        let unit = match self.bound {
            Bound::Memory => "GB/s",
            Bound::Arithmetic => "GFLOP/s",
        };
        let digits = match self.bound {
            Bound::Memory => 1,
            Bound::Arithmetic => 0,
        };
        let reached = self.reached / 1e9;
        format!(
            "{reached:.digits$} of {:.digits$} {unit}, {:.0} %",
            self.limit / 1e9,
            100.0 * self.fraction()
        )
    }

    /// The share of the bound that is reached.
    pub fn fraction(&self) -> f64 {
        self.reached / self.limit
    }

    pub fn json(&self) -> Value {
        let work = self.work.round() as u64;
        let mut object = match self.bound {
            Bound::Memory => json!({ "bytes_per_token": work, "gb_s": self.reached / 1e9 }),
            Bound::Arithmetic => json!({ "flops_per_token": work, "gflop_s": self.reached / 1e9 }),
        };
        object["limit"] = json!(self.limit / 1e9);
        object["fraction"] = json!(self.fraction());
        object
    }
}

/// The median of each rate.
///
/// # Panics
/// Panics if there are no measurements.
pub fn middle(measured: &[PeakRates]) -> PeakRates {
    let median = |of: fn(&PeakRates) -> f64| Spread::of(measured.iter().map(of).collect()).median;
    PeakRates {
        bytes: median(|l| l.bytes),
        products: std::array::from_fn(|i| {
            Spread::of(measured.iter().map(|l| l.products[i]).collect()).median
        }),
    }
}
