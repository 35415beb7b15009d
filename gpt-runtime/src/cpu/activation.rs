//! The built-in activations as functions, which generated code calls, and the interpreter of
//! formulas for plans made at run time.

use std::sync::OnceLock;

use gpt_plan::{Activation, Formula};

use gpt_simd::{Isa, Kernels};

fn best() -> &'static Kernels {
    static BEST: OnceLock<&Kernels> = OnceLock::new();
    BEST.get_or_init(|| Isa::available()[0].kernels().expect("an available set has kernels"))
}

/// Applies a built-in activation to `values`, in place.
///
/// # Panics
/// Panics if the activation is a closure.
pub fn apply(activation: &Activation, values: &mut [f32]) {
    let kernels = best();
    built_in(activation).expect("a built-in activation")(kernels, values)
}

/// Applies a built-in activation to `values`, in place, and writes its derivative to `slopes`.
///
/// # Panics
/// Panics if the activation is a closure.
pub fn with_slopes(activation: &Activation, values: &mut [f32], slopes: &mut [f32]) {
    best().with_slopes(activation, values, slopes)
}

/// An activation as the interpreter applies it.
pub(super) enum Apply {
    BuiltIn(fn(&Kernels, &mut [f32]), &'static Kernels),
    /// A closure, compiled in the crate that declares the model.
    Compiled(fn(&mut [f32])),
    /// A closure of a plan made at run time, evaluated node by node.
    Formula(Formula),
}

fn built_in(activation: &Activation) -> Option<fn(&Kernels, &mut [f32])> {
    match activation {
        Activation::Gelu => Some(Kernels::gelu),
        Activation::GeluTanh => Some(Kernels::gelu_tanh),
        Activation::Relu => Some(Kernels::relu),
        Activation::Silu => Some(Kernels::silu),
        Activation::Custom { .. } => None,
    }
}

impl Apply {
    pub fn new(
        activation: &Activation,
        compiled: Option<fn(&mut [f32])>,
        kernels: &'static Kernels,
    ) -> Apply {
        match (built_in(activation), compiled, activation) {
            (Some(built_in), _, _) => Apply::BuiltIn(built_in, kernels),
            (None, Some(compiled), _) => Apply::Compiled(compiled),
            (None, None, Activation::Custom { value, .. }) => Apply::Formula(value.clone()),
            (None, None, _) => unreachable!("every activation but a formula has a kernel"),
        }
    }

    pub fn apply(&self, row: &mut [f32]) {
        match self {
            Apply::BuiltIn(f, kernels) => f(kernels, row),
            Apply::Compiled(f) => f(row),
            Apply::Formula(formula) => formula.apply(row),
        }
    }
}
