//! Spec to plan: the tensors, the buffers, and the ops of each pass in order.
//!
//! - `tensors` makes the table of tensors, `names` the names that files give them.
//! - `forward` lists the ops of a forward pass, once for inference and training.
//! - `backward` has the rule by which each op's gradients are computed, and derives a backward pass.
//! - `inference` and `training` add what is theirs: buffers, sections and kernels.
//!
//! What a kernel looks like is up to [`wgsl`](crate::wgsl). Whether a spec makes sense is checked
//! before (`check`).

mod backward;
mod forward;
mod inference;
mod names;
mod tensors;
mod training;

#[cfg(test)]
mod tests;

use gpt_plan::{Plan, Spec};

/// The plan of the model called `name`. `spec` has to be a checked one.
pub fn plan(name: &str, spec: &Spec) -> Plan {
    let table = tensors::Table::new(spec);
    let inference = inference::Inference::new(name, spec, &table);
    Plan {
        name: name.to_owned().into(),
        spec: spec.clone(),
        buffers: inference::buffers(spec, inference.split.is_some()).into(),
        kernels: inference.kernels.into(),
        sections: inference.sections.into(),
        split: inference.split,
        choice: inference.choice,
        training: training::training(name, spec, &table),
        tensors: table.tensors.into(),
    }
}
