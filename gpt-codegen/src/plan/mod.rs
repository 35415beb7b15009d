//! Computes a plan from a spec: the tensors, the buffers, and the ops of each pass in order.
//!
//! - `tensors` builds the table of tensors; `names` has their names in weight files.
//! - `forward` lists the ops of a forward pass, for both inference and training.
//! - `backward` has the backward rule of each op, and derives a backward pass.
//! - `inference` and `training` add the buffers, sections and kernels of their passes.
//!
//! [`wgsl`](crate::wgsl) generates the kernels. `check` validates a spec first.

mod backward;
mod forward;
mod inference;
mod names;
mod tensors;
mod training;

#[cfg(test)]
mod tests;

use gpt_plan::{Plan, Spec};

/// The plan of the model called `name`. `spec` must have passed [`check`](crate::check).
pub fn plan(name: &str, spec: &Spec) -> Plan {
    let table = tensors::Table::new(spec);
    let inference = inference::Inference::new(name, spec, &table);
    Plan {
        name: name.to_owned().into(),
        spec: spec.clone(),
        buffers: inference::buffers(spec, inference.split_attention.is_some()).into(),
        kernels: inference.kernels.into(),
        sections: inference.sections.into(),
        split_attention: inference.split_attention,
        sampling: inference.sampling,
        training: training::training(name, spec, &table),
        tensors: table.tensors.into(),
    }
}
