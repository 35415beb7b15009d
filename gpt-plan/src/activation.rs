//! Activations: four with kernels of their own, and closures as formulas.
//!
//! A [`Formula`] is a tape in static single assignment: node `i` refers only to earlier nodes, and
//! the last node is the value. A tape needs no boxes, so it can be a `const`. `gpt-codegen` parses
//! closures, differentiates tapes, and writes them as `let` lines in WGSL and Rust. This module
//! evaluates them, in f64 for the oracle and in f32 for the interpreter.

use serde::Serialize;

use crate::{List, Str};

/// The nonlinearity of an MLP.
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
pub enum Activation {
    /// `x * Phi(x)` with the exact normal distribution, Hendrycks and Gimpel 2016.
    #[default]
    Gelu,
    /// GPT-2's tanh approximation of GELU, `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `x / (1 + exp(-x))`.
    Silu,
    /// A formula with its symbolic derivative: a built-in activation, which has a name, or a user's
    /// closure.
    Custom {
        name: Option<Str>,
        value: Formula,
        derivative: Formula,
    },
}

impl Activation {
    /// The name by which a spec refers to it; none for a closure.
    pub fn name(&self) -> Option<&str> {
        match self {
            Activation::Gelu => Some("Gelu"),
            Activation::GeluTanh => Some("GeluTanh"),
            Activation::Relu => Some("Relu"),
            Activation::Silu => Some("Silu"),
            Activation::Custom { name, .. } => name.as_deref(),
        }
    }
}

/// The largest number of nodes of a formula or its derivative. The evaluators keep that many values
/// on the stack.
pub const MAX_NODES: usize = 256;

/// An expression in one variable, as a tape of [`Node`]s. Never empty.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Formula {
    pub nodes: List<Node>,
}

/// One operation of a [`Formula`]; the numbers are indices of earlier nodes.
///
/// Arithmetic saturates: a result beyond the largest finite number becomes that number. So an
/// intermediate overflow never leads to `inf - inf`, `inf / inf` or `0 * inf`.
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
    /// `exp(a) - 1`, accurate near zero. Closures spell it as a difference.
    ExpM1(u16),
    Ln(u16),
    /// `1 / (1 + exp(-a))`. Closures spell it out.
    Sigmoid(u16),
    /// `ln(1 + exp(a))`, also if `exp(a)` overflows. Closures spell it out.
    Softplus(u16),
    Sqrt(u16),
    Tanh(u16),
    Sin(u16),
    Cos(u16),
    Abs(u16),
    Max(u16, u16),
    Min(u16, u16),
    Powi(u16, i32),
    /// 1 where the first is greater than the second, 0 otherwise. Only derivatives contain it.
    Greater(u16, u16),
    /// The second where the first is not 0, the third otherwise. Only derivatives contain it.
    Select(u16, u16, u16),
}

macro_rules! evaluator {
    ($(#[$doc:meta])* $name:ident, $float:ident) => {
        $(#[$doc])*
        pub fn $name(&self, x: $float) -> $float {
            let mut values = [0.0; MAX_NODES];
            let mut last = x;
            for (i, node) in self.nodes.iter().enumerate() {
                let at = |j: u16| values[usize::from(j)];
                let value: $float = match *node {
                    Node::X => x,
                    Node::Const(c) => c as $float,
                    Node::Add(a, b) => at(a) + at(b),
                    Node::Sub(a, b) => at(a) - at(b),
                    Node::Mul(a, b) => at(a) * at(b),
                    Node::Div(a, b) => at(a) / at(b),
                    Node::Neg(a) => -at(a),
                    Node::Exp(a) => at(a).exp(),
                    Node::ExpM1(a) => at(a).exp_m1(),
                    Node::Ln(a) => at(a).ln(),
                    Node::Sigmoid(a) => 1.0 / (1.0 + (-at(a)).exp()),
                    Node::Softplus(a) => at(a).max(0.0) + (-at(a).abs()).exp().ln_1p(),
                    Node::Sqrt(a) => at(a).sqrt(),
                    Node::Tanh(a) => at(a).tanh(),
                    Node::Sin(a) => at(a).sin(),
                    Node::Cos(a) => at(a).cos(),
                    Node::Abs(a) => at(a).abs(),
                    Node::Max(a, b) => at(a).max(at(b)),
                    Node::Min(a, b) => at(a).min(at(b)),
                    Node::Powi(a, n) => at(a).powi(n),
                    Node::Greater(a, b) => $float::from(u8::from(at(a) > at(b))),
                    Node::Select(c, a, b) => if at(c) != 0.0 { at(a) } else { at(b) },
                };
                last = value.clamp($float::MIN, $float::MAX);
                values[i] = last;
            }
            last
        }
    };
}

impl Formula {
    evaluator!(
        /// The value at `x`, in f64.
        eval, f64
    );
    evaluator!(
        /// The value at `x`, in f32. Generated Rust and WGSL compute the same.
        eval_f32, f32
    );
}
