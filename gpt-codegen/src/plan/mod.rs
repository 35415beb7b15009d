//! Spec to plan: how much, where, in which order.
//!
//! [`plan`] fixes the table of tensors (`tensors`), the names that files give them (`names`), and the steps of a
//! forward pass with a kernel for each phase and format (`steps`), and those of a training pass (`training`). What a kernel looks like is the business of
//! [`wgsl`]; whether the spec makes sense was settled before (`check`).

mod names;
mod steps;
mod tensors;
mod training;

use gpt_plan::{Buffer, BufferId, Plan, Rows, Spec};

use crate::wgsl;

/// The plan of the model called `name`. `spec` has to be a checked one.
pub fn plan(name: &str, spec: &Spec) -> Plan {
    let table = tensors::Table::new(spec);
    let steps::Forward {
        sections,
        kernels,
        split,
        choice,
    } = steps::forward(name, spec, &table);
    Plan {
        name: name.to_owned().into(),
        spec: spec.clone(),
        buffers: buffers(spec, split.is_some()).into(),
        kernels: kernels.into(),
        sections: sections.into(),
        split,
        choice,
        training: training::training(name, spec, &table),
        tensors: table.tensors.into(),
    }
}

fn buffers(spec: &Spec, split: bool) -> Vec<Buffer> {
    let parts = if split {
        spec.heads * (spec.head_dim + 2)
    } else {
        0
    };
    let choice = wgsl::ChoiceSizes::new(spec);
    let buffer = |id, name, width, rows| Buffer {
        id,
        name,
        width,
        rows,
    };
    vec![
        buffer(BufferId::X, "x", spec.embed, Rows::Chunk),
        buffer(BufferId::Q, "q", spec.q_width(), Rows::Chunk),
        buffer(BufferId::A, "a", spec.q_width(), Rows::Chunk),
        buffer(BufferId::H, "h", spec.mlp.hidden, Rows::Chunk),
        buffer(BufferId::Logits, "logits", spec.vocab, Rows::Wanted),
        buffer(BufferId::K, "k_cache", spec.kv_width(), Rows::Capacity),
        buffer(BufferId::V, "v_cache", spec.kv_width(), Rows::Capacity),
        buffer(BufferId::Parts, "parts", parts, Rows::Parts),
        buffer(BufferId::Tops, "tops", 2 * choice.tiles, Rows::One),
        buffer(
            BufferId::Histogram,
            "histogram",
            2 * choice.bins + 1,
            Rows::One,
        ),
        buffer(BufferId::Listed, "listed", 2 * spec.vocab, Rows::One),
        buffer(BufferId::Drawn, "drawn", 1, Rows::Capacity),
    ]
}
