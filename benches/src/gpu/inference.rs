//! Inputs and sizes for the kernels of a forward pass.

use gpt_runtime::__private::plan::{
    BufferId, Extent, Format, Kernel, MatrixLayout, Phase, Plan, STRIP, Step, vector_block,
};

use super::kernel::Sizes;
use crate::versus::Work;

/// A kernel, its inputs, and its work.
pub struct Job {
    pub kernel: &'static Kernel,
    pub sizes: Sizes,
    pub work: Work,
}

/// The kernel of the step called `name`, with its matrix in `format`, and its inputs for `rows`
/// tokens from `position` on.
///
/// # Panics
/// If the plan has no such step.
pub fn step(plan: &'static Plan, name: &str, format: Format, rows: u32, position: u32) -> Job {
    let mut steps = plan.steps().map(|(_, step)| step);
    let step = steps.find(|step| step.name == name).expect("a step of the plan");
    let phase = if rows == 1 { Phase::Decode } else { Phase::Prefill };
    let kernel = &plan.kernels[usize::from(step.kernel(phase, format))];
    let spec = &plan.spec;
    let widths = plan.buffers.iter().filter(|b| b.id != BufferId::Logits);
    let widest = widths.map(|b| b.width).max().unwrap_or(1);
    let logits = if step.op.computes_logits() { rows * spec.vocab } else { 0 };
    // Activations; the cache; logits; vectors; positions, or rotary angles.
    let floats = [
        rows * widest,
        (position + rows) * spec.kv_width(),
        logits,
        vector_block(&plan.tensors, true),
        vector_block(&plan.tensors, false),
        (position + rows) * spec.embed.max(spec.head_dim),
    ];
    let floats = floats.into_iter().max().unwrap_or(1);
    let (parts, work) = matrix(plan, step, format, rows)
        .unwrap_or_else(|| (Vec::new(), attention(plan, rows, position)));
    Job {
        kernel,
        sizes: Sizes {
            uniforms: vec![("pass_uniform", vec![position, rows, 0])],
            parts,
            bytes: 4 * u64::from(floats),
            vocab: spec.vocab,
            groups: kernel.workgroups(&Extent { rows, keys: position + rows, ..Extent::default() }),
        },
        work,
    }
}

/// Bytes of each part of a step's matrix, and the work of a product with it: one row is bound by
/// the bytes read, many rows by arithmetic.
fn matrix(plan: &Plan, step: &Step, format: Format, rows: u32) -> Option<(Vec<u64>, Work)> {
    let tensor = plan.tensor(step.matrix()?);
    let gated = step.op.is_gated();
    let halves = if gated { 2 } else { 1 };
    let padded = (tensor.rows / halves).next_multiple_of(STRIP) * halves;
    let columns = u64::from(tensor.columns);
    let layout = MatrixLayout::new(format, u64::from(padded), columns)?;
    let bytes = |part| layout.panels_of(part).len() as u64 * layout.panel_bytes();
    let work = match rows {
        1 => Work::Bytes(format.row_bytes(columns as usize) as u64 * u64::from(tensor.rows)),
        _ => Work::Flops(2 * tensor.len() * u64::from(rows)),
    };
    Some(((0..layout.parts).map(bytes).collect(), work))
}

/// The work of attention: one row is bound by the bytes of a layer's cache, many rows by their
/// products with the keys and values that each of them sees.
pub fn attention(plan: &Plan, rows: u32, position: u32) -> Work {
    let spec = &plan.spec;
    let keys = u64::from(position + rows);
    match rows {
        1 => Work::Bytes(2 * 4 * keys * u64::from(spec.kv_width())),
        _ => {
            let seen: u64 = (0..u64::from(rows)).map(|r| u64::from(position) + r + 1).sum();
            Work::Flops(4 * seen * u64::from(spec.q_width()))
        }
    }
}
