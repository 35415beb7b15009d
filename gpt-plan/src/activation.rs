//! Activations: four known ones, and a user's closure as a formula.
//!
//! A [`Formula`] is a tape in static single assignment: node `i` may only refer to nodes before it, and the
//! last node is the value. A tape needs no boxes, so it can be a `const`; it prints as `let` lines in WGSL and
//! in Rust alike; and it is evaluated here in f64, which is what the oracle and the checks of the other two use.
//! Parsing the closure and differentiating the tape is the compiler's work (`gpt-codegen`).

use serde::Serialize;

use crate::List;

/// The nonlinearity of an MLP.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub enum Activation {
    /// `x * Phi(x)` with the exact normal distribution, Hendrycks and Gimpel 2016.
    Gelu,
    /// Its tanh approximation, `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`: GPT-2's.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `x / (1 + exp(-x))`.
    Silu,
    /// A closure of the user's own, with its symbolic derivative.
    Custom { value: Formula, derivative: Formula },
}

/// An expression in one variable, as a tape of [`Node`]s. Never empty.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Formula {
    pub nodes: List<Node>,
}

/// One operation of a [`Formula`]; the numbers are indices of earlier nodes.
#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
pub enum Node {
    /// The argument of the closure.
    X,
    Const(f64),
    Add(u16, u16),
    Sub(u16, u16),
    Mul(u16, u16),
    Div(u16, u16),
    Neg(u16),
    Exp(u16),
    Ln(u16),
    Sqrt(u16),
    Tanh(u16),
    Sin(u16),
    Cos(u16),
    Abs(u16),
    Max(u16, u16),
    Min(u16, u16),
    Powi(u16, i32),
    /// 1 where the first is greater than the second, else 0. No closure can write it: derivatives of `max`, `min` and `abs` need it.
    Greater(u16, u16),
}

impl Formula {
    /// The value at `x`, in f64.
    pub fn eval(&self, x: f64) -> f64 {
        let mut values: Vec<f64> = Vec::with_capacity(self.nodes.len());
        for node in self.nodes.iter() {
            let at = |i: u16| values[usize::from(i)];
            let value = match *node {
                Node::X => x,
                Node::Const(c) => c,
                Node::Add(a, b) => at(a) + at(b),
                Node::Sub(a, b) => at(a) - at(b),
                Node::Mul(a, b) => at(a) * at(b),
                Node::Div(a, b) => at(a) / at(b),
                Node::Neg(a) => -at(a),
                Node::Exp(a) => at(a).exp(),
                Node::Ln(a) => at(a).ln(),
                Node::Sqrt(a) => at(a).sqrt(),
                Node::Tanh(a) => at(a).tanh(),
                Node::Sin(a) => at(a).sin(),
                Node::Cos(a) => at(a).cos(),
                Node::Abs(a) => at(a).abs(),
                Node::Max(a, b) => at(a).max(at(b)),
                Node::Min(a, b) => at(a).min(at(b)),
                Node::Powi(a, n) => at(a).powi(n),
                Node::Greater(a, b) => f64::from(u8::from(at(a) > at(b))),
            };
            values.push(value);
        }
        values.last().copied().expect("a formula is never empty")
    }
}
