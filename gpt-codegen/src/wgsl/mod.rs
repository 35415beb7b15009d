//! Kernels: for each op, a generated header and the files of `gpt-shaders` that follow it.
//!
//! A header has constants and generated functions, such as a closure; all other code is in the
//! files. Code that varies is chosen by naming one file or another with the same functions. Each
//! operation has one module, for inference, training or both: `matmul`, `attention`, `norm`,
//! `embed`, `activation`, `loss`, `dropout`, `sampling`, `optimizer`. `training` collects the
//! kernels of a training pass, each once. `validate` hands linked kernels to naga and maps its
//! errors back to the files.

mod activation;
mod attention;
mod bindings;
mod dropout;
mod embed;
mod header;
mod loss;
mod matmul;
mod norm;
mod optimizer;
mod sampling;
pub mod training;
mod validate;

use gpt_plan::{Format, Kernel, Op, Phase, Spec, Tensor};

pub use attention::split as split_attention;
pub use sampling::{SamplingSizes, kernel as sampling};
pub use validate::{validate, validate_every_variant, validate_plan, variants};

/// The kernel of step `name`; `None` if the matrix has more parts in `format` than a kernel can
/// bind. `tensors` is the model's table of tensors. It gives the shape of the matrix that `op`
/// reads, and the offsets of the vectors ([`gpt_plan::vector_offset`]).
pub fn kernel(
    model: &str,
    spec: &Spec,
    tensors: &[Tensor],
    name: &str,
    op: &Op,
    phase: Phase,
    format: Format,
) -> Option<Kernel> {
    let context = Context { model, spec, tensors, name, phase, format };
    match op {
        Op::Attention { scores, .. } => Some(attention::kernel(&context, scores)),
        Op::Embed { table, positions, types, scale, .. } => {
            let tables = embed::Tables { positions: positions.is_some(), types: types.is_some() };
            embed::kernel(&context, op, *table, tables, *scale)
        }
        Op::Norm { norm, sum, .. } => Some(norm::rows_kernel(&context, *norm, *sum)),
        Op::NormHeads { norm, rotary, .. } => Some(norm::heads(&context, *norm, *rotary)),
        Op::Project(projection) => matmul::projection(&context, op, projection),
        _ => unreachable!("{name} is not an op of a forward pass"),
    }
}

/// The inputs of every inference kernel.
struct Context<'a> {
    model: &'a str,
    spec: &'a Spec,
    tensors: &'a [Tensor],
    name: &'a str,
    phase: Phase,
    format: Format,
}

impl Context<'_> {
    fn phase_name(&self) -> &'static str {
        match self.phase {
            Phase::Decode => "decode",
            Phase::Prefill => "prefill",
        }
    }

    /// The title of a header.
    fn title(&self, what: &str) -> String {
        let rows = match self.phase {
            Phase::Decode => "for one token",
            Phase::Prefill => "for many tokens",
        };
        format!("{}: {} {rows}, {what}.", self.model, self.name)
    }
}
