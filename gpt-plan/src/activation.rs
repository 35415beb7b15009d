//! Activations: four with hand-written kernels, and all others as formulas.
//!
//! A [`Formula`] is a tape in static single assignment: node `i` refers only to earlier nodes, and
//! the last node is the value. A tape needs no boxes, so it can be a `const`. `gpt-codegen` parses
//! closures, differentiates tapes, and writes them as `let` lines in WGSL and Rust. This module
//! evaluates them: in f64 for the oracle and the compiler, in f32 for the CPU engine.

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
        /// The name in a spec; `None` for a closure.
        name: Option<Str>,
        /// `f(x)`.
        value: Formula,
        /// `f'(x)`.
        derivative: Formula,
    },
}

impl Activation {
    /// The name by which a spec refers to it; `None` for a closure.
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
    /// The nodes, at most [`MAX_NODES`].
    pub nodes: List<Node>,
}

/// One operation of a [`Formula`]; numbers of type `u16` are indices of earlier nodes.
///
/// Arithmetic saturates: a result beyond the largest finite number becomes that number. So an
/// intermediate overflow never leads to `inf - inf`, `inf / inf` or `0 * inf`.
#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
pub enum Node {
    /// The argument of the closure.
    X,
    /// A literal.
    Const(f64),
    /// `a + b`.
    Add(u16, u16),
    /// `a - b`.
    Sub(u16, u16),
    /// `a * b`.
    Mul(u16, u16),
    /// `a / b`.
    Div(u16, u16),
    /// `-a`.
    Neg(u16),
    /// `exp(a)`.
    Exp(u16),
    /// `exp(a) - 1`, accurate near zero. Closures spell it as a difference.
    ExpM1(u16),
    /// The natural logarithm.
    Ln(u16),
    /// `1 / (1 + exp(-a))`. Closures spell it out.
    Sigmoid(u16),
    /// `ln(1 + exp(a))`, even if `exp(a)` overflows. Closures spell it out.
    Softplus(u16),
    /// The square root.
    Sqrt(u16),
    /// `tanh(a)`.
    Tanh(u16),
    /// `sin(a)`, in radians.
    Sin(u16),
    /// `cos(a)`, in radians.
    Cos(u16),
    /// `|a|`.
    Abs(u16),
    /// The greater of two.
    Max(u16, u16),
    /// The smaller of two.
    Min(u16, u16),
    /// `a` to a constant integer power.
    Powi(u16, i32),
    /// 1 where the first is greater than the second, 0 otherwise. Only derivatives contain it.
    Greater(u16, u16),
    /// The second where the first is not 0, the third otherwise. Only derivatives contain it.
    Select(u16, u16, u16),
}

/// Elements for which [`Formula::apply`] evaluates a short formula together, so that the compiler
/// vectorises each node.
const BLOCK: usize = 32;

/// The most nodes of a short formula, whose values fit in a small array.
const SHORT: usize = 16;

macro_rules! evaluator {
    ($name:ident, $float:ident) => {
        /// The values at `N` arguments. `NODES` is at least the number of nodes.
        fn $name<const NODES: usize, const N: usize>(&self, x: [$float; N]) -> [$float; N] {
            let mut values = [[0.0; N]; NODES];
            let mut last = x;
            for (i, node) in self.nodes.iter().enumerate() {
                let at = |j: u16| &values[usize::from(j)];
                let one = |a: u16, f: fn($float) -> $float| at(a).map(f);
                let two = |a: u16, b: u16, f: fn($float, $float) -> $float| {
                    std::array::from_fn(|i| f(at(a)[i], at(b)[i]))
                };
                let value: [$float; N] = match *node {
                    Node::X => x,
                    Node::Const(c) => [c as $float; N],
                    Node::Add(a, b) => two(a, b, |a, b| a + b),
                    Node::Sub(a, b) => two(a, b, |a, b| a - b),
                    Node::Mul(a, b) => two(a, b, |a, b| a * b),
                    Node::Div(a, b) => two(a, b, |a, b| a / b),
                    Node::Neg(a) => one(a, |a| -a),
                    Node::Exp(a) => one(a, $float::exp),
                    Node::ExpM1(a) => one(a, $float::exp_m1),
                    Node::Ln(a) => one(a, $float::ln),
                    Node::Sigmoid(a) => one(a, |a| 1.0 / (1.0 + (-a).exp())),
                    Node::Softplus(a) => one(a, |a| a.max(0.0) + (-a.abs()).exp().ln_1p()),
                    Node::Sqrt(a) => one(a, $float::sqrt),
                    Node::Tanh(a) => one(a, $float::tanh),
                    Node::Sin(a) => one(a, $float::sin),
                    Node::Cos(a) => one(a, $float::cos),
                    Node::Abs(a) => one(a, $float::abs),
                    Node::Max(a, b) => two(a, b, $float::max),
                    Node::Min(a, b) => two(a, b, $float::min),
                    Node::Powi(a, n) => at(a).map(|a| a.powi(n)),
                    Node::Greater(a, b) => two(a, b, |a, b| $float::from(u8::from(a > b))),
                    Node::Select(c, a, b) => {
                        std::array::from_fn(|i| if at(c)[i] != 0.0 { at(a)[i] } else { at(b)[i] })
                    }
                };
                last = value.map(|x| x.clamp($float::MIN, $float::MAX));
                values[i] = last;
            }
            last
        }
    };
}

impl Formula {
    evaluator!(evaluate, f64);
    evaluator!(evaluate_f32, f32);

    /// The value at `x`, in f64.
    pub fn eval(&self, x: f64) -> f64 {
        self.evaluate::<MAX_NODES, 1>([x])[0]
    }

    /// The value at `x`, in f32. Generated Rust and WGSL compute the same.
    pub fn eval_f32(&self, x: f32) -> f32 {
        self.evaluate_f32::<MAX_NODES, 1>([x])[0]
    }

    /// Replaces each element of `values` by the value of the formula at that element.
    pub fn apply(&self, values: &mut [f32]) {
        if self.nodes.len() > SHORT {
            values.iter_mut().for_each(|x| *x = self.eval_f32(*x));
            return;
        }
        let (blocks, rest) = values.as_chunks_mut::<BLOCK>();
        for block in blocks {
            *block = self.evaluate_f32::<SHORT, BLOCK>(*block);
        }
        for x in rest {
            *x = self.evaluate_f32::<SHORT, 1>([*x])[0];
        }
    }
}
