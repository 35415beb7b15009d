//! The kernels of a training pass.

use gpt_plan::{Kernel, Spec, Tensor, TrainOp};

/// The kernels that a model's training steps need, each once.
pub struct Kernels<'a> {
    _model: &'a str,
    _spec: &'a Spec,
    _tensors: &'a [Tensor],
    kernels: Vec<Kernel>,
}

impl<'a> Kernels<'a> {
    pub fn new(model: &'a str, spec: &'a Spec, tensors: &'a [Tensor]) -> Self {
        Kernels {
            _model: model,
            _spec: spec,
            _tensors: tensors,
            kernels: Vec::new(),
        }
    }

    /// Indices of the kernels that make the step `name`, in order.
    pub fn of(&mut self, _name: &str, _op: &TrainOp) -> Vec<u16> {
        Vec::new()
    }

    pub fn finish(self) -> Vec<Kernel> {
        self.kernels
    }
}
