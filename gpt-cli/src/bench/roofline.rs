//! What a speed amounts to: bytes read and arithmetic done in a second, beside what the machine can do.
//!
//! The limits of a CPU are measured between the repetitions of what they are compared with, on the same threads.

use gpt_runtime::Format;
use gpt_runtime::profile::Limits;
use gpt_runtime::{Model, Untyped};
use serde_json::{Value, json};

use crate::output::Spread;

/// What a speed is held against.
#[derive(Clone, Copy)]
pub enum Wall {
    /// Decoding reads every weight and all of the cache for each token.
    Memory,
    /// A prompt, or a batch that is learned, has each weight serve many tokens.
    Arithmetic,
}

/// One speed, and what it amounts to.
pub struct Roofline {
    wall: Wall,
    /// Bytes or floating-point operations of one token, on average.
    work: f64,
    /// Of both a second.
    reached: f64,
    limit: f64,
}

impl Roofline {
    /// That of a prompt of `tokens` tokens.
    pub fn prefill(model: &Model<Untyped>, tokens: u64, speed: f64, limits: &Limits) -> Self {
        let work = model.plan().flops(0, tokens, 1) as f64 / tokens as f64;
        Self::new(Wall::Arithmetic, work, speed, limits.of(model.format()))
    }

    /// That of `tokens` tokens decoded after `position` others, on a cache of `cache` bytes a position.
    pub fn decode(
        model: &Model<Untyped>,
        (position, tokens): (u64, u64),
        cache: u64,
        speed: f64,
        limits: &Limits,
    ) -> Self {
        let seen = position as f64 + (tokens as f64 + 1.0) / 2.0;
        let work = model.weight_bytes_per_token() as f64 + cache as f64 * seen;
        Self::new(Wall::Memory, work, speed, limits.bytes)
    }

    /// That of learning sequences of `tokens` tokens with products in `format`: forward once, and twice as much on the way back.
    pub fn train(
        model: &Model<Untyped>,
        (tokens, format): (u64, Format),
        speed: f64,
        limits: &Limits,
    ) -> Self {
        let work = 3.0 * model.plan().flops(0, tokens, tokens) as f64 / tokens as f64;
        Self::new(Wall::Arithmetic, work, speed, limits.of(format))
    }

    fn new(wall: Wall, work: f64, speed: f64, limit: f64) -> Self {
        Roofline {
            wall,
            work,
            reached: work * speed,
            limit,
        }
    }

    /// For people: `25.1 of 27.4 GB/s, 92 %`.
    pub fn text(&self) -> String {
        let unit = match self.wall {
            Wall::Memory => "GB/s",
            Wall::Arithmetic => "GFLOP/s",
        };
        let digits = match self.wall {
            Wall::Memory => 1,
            Wall::Arithmetic => 0,
        };
        let reached = self.reached / 1e9;
        format!(
            "{reached:.digits$} of {:.digits$} {unit}, {:.0} %",
            self.limit / 1e9,
            100.0 * self.reached / self.limit
        )
    }

    pub fn json(&self) -> Value {
        let work = self.work.round() as u64;
        let mut object = match self.wall {
            Wall::Memory => json!({ "bytes_per_token": work, "gb_s": self.reached / 1e9 }),
            Wall::Arithmetic => json!({ "flops_per_token": work, "gflop_s": self.reached / 1e9 }),
        };
        object["limit"] = json!(self.limit / 1e9);
        object["fraction"] = json!(self.reached / self.limit);
        object
    }
}

/// The middle of several measurements.
///
/// # Panics
/// Without measurements.
pub fn middle(measured: &[Limits]) -> Limits {
    let median = |of: fn(&Limits) -> f64| Spread::of(measured.iter().map(of).collect()).median;
    Limits {
        bytes: median(|l| l.bytes),
        products: std::array::from_fn(|i| {
            Spread::of(measured.iter().map(|l| l.products[i]).collect()).median
        }),
    }
}
