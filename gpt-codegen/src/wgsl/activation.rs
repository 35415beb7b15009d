//! Activations: a file for each that has kernels, a generated function for each closure.

use gpt_plan::Activation;
use gpt_shaders::files;

use super::header::{Files, Header};
use crate::formula;

/// The file of an activation that is not a closure. It defines `activation` and `slope`.
fn file(activation: &Activation) -> Option<&'static str> {
    match activation {
        Activation::Gelu => Some(files::ACTIVATION_GELU),
        Activation::GeluTanh => Some(files::ACTIVATION_GELU_TANH),
        Activation::Relu => Some(files::ACTIVATION_RELU),
        Activation::Silu => Some(files::ACTIVATION_SILU),
        Activation::Custom { .. } => None,
    }
}

/// Adds the activation and, if it is a closure and `slope` is true, its derivative.
pub fn add(activation: &Activation, slope: bool, header: &mut Header, files: &mut Files) {
    files.extend(file(activation));
    if let Activation::Custom { value, derivative, .. } = activation {
        let text = formula::wgsl("activation", value);
        header.function("activation", "The closure of the spec.", &text);
        if slope {
            let text = formula::wgsl("slope", derivative);
            header.function("slope", "The derivative of the closure.", &text);
        }
    }
}
