//! Kernels: the header that the compiler writes for a model, and the files of `gpt-shaders` that follow it.

use gpt_plan::{Format, Kernel, Op, Phase, Spec, Tensor};

/// The kernel of step `name`. `tensors` is the model's table, for the shapes of the matrix that `op` reads and for the
/// offsets of its vectors ([`gpt_plan::vector_offset`]).
pub fn kernel(
    model: &str,
    spec: &Spec,
    tensors: &[Tensor],
    name: &str,
    op: &Op,
    phase: Phase,
    format: Format,
) -> Kernel {
    let _ = (model, spec, tensors, op);
    let phase = match phase {
        Phase::Decode => "decode",
        Phase::Prefill => "prefill",
    };
    Kernel {
        name: format!("{name}_{phase}_{}", format.name()).into(),
        header: "".into(),
        parts: Vec::new().into(),
        workgroup: 64,
        tile_rows: 1,
        groups: 1,
    }
}

/// What naga has against the kernels of `plan`, one sentence each.
pub fn validate_all(plan: &gpt_plan::Plan) -> Vec<String> {
    let _ = plan;
    Vec::new()
}
