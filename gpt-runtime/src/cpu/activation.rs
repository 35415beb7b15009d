//! The built-in activations as plain functions, which generated code names, and the evaluation of
//! formulas for plans made at run time.

use std::sync::OnceLock;

use gpt_plan::{Activation, Formula, Node};

use super::simd::{Isa, Kernels};

fn best() -> &'static Kernels {
    static BEST: OnceLock<&Kernels> = OnceLock::new();
    BEST.get_or_init(|| {
        Isa::available()[0]
            .kernels()
            .expect("an available set has kernels")
    })
}

/// `x Phi(x)` of each element, with the exact normal distribution.
pub fn gelu(row: &mut [f32]) {
    best().gelu(row)
}

/// The approximation of GELU by a tanh, which GPT-2 uses.
pub fn gelu_tanh(row: &mut [f32]) {
    best().gelu_tanh(row)
}

/// `max(x, 0)` of each element.
pub fn relu(row: &mut [f32]) {
    best().relu(row)
}

/// `x / (1 + e^-x)` of each element.
pub fn silu(row: &mut [f32]) {
    best().silu(row)
}

/// A built-in activation of `values`, in place, and its derivative there.
///
/// # Panics
/// For a closure.
pub fn with_slopes(activation: &Activation, values: &mut [f32], slopes: &mut [f32]) {
    best().with_slopes(activation, values, slopes)
}

/// An activation as the interpreter applies it.
pub(super) enum Apply {
    /// A declared model's.
    Compiled(fn(&mut [f32])),
    BuiltIn(fn(&Kernels, &mut [f32]), &'static Kernels),
    Formula(Formula),
}

impl Apply {
    pub fn new(activation: &Activation, kernels: &'static Kernels) -> Apply {
        let built_in: fn(&Kernels, &mut [f32]) = match activation {
            Activation::Gelu => Kernels::gelu,
            Activation::GeluTanh => Kernels::gelu_tanh,
            Activation::Relu => Kernels::relu,
            Activation::Silu => Kernels::silu,
            Activation::Custom { value, .. } => return Apply::Formula(value.clone()),
        };
        Apply::BuiltIn(built_in, kernels)
    }

    pub fn apply(&self, row: &mut [f32]) {
        match self {
            Apply::Compiled(f) => f(row),
            Apply::BuiltIn(f, kernels) => f(kernels, row),
            Apply::Formula(formula) => row.iter_mut().for_each(|x| *x = evaluate(formula, *x)),
        }
    }
}

/// Most nodes of a formula; the compiler rejects longer ones.
pub const MAX_NODES: usize = 256;

/// Evaluates the formula in f32, node by node, as generated Rust and WGSL do.
pub fn evaluate(formula: &Formula, x: f32) -> f32 {
    let mut values = [0.0f32; MAX_NODES];
    let mut last = x;
    for (i, node) in formula.nodes.iter().enumerate() {
        let at = |j: u16| values[usize::from(j)];
        last = match *node {
            Node::X => x,
            Node::Const(c) => c as f32,
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
            Node::Greater(a, b) => f32::from(u8::from(at(a) > at(b))),
        };
        values[i] = last;
    }
    last
}
