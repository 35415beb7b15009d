//! Kernels: the header that the compiler writes for a model, and the files of `gpt-shaders` that follow it.
//!
//! A header is sizes, aliases and, for a closure, the activation; nothing else is written here. What varies in code varies by the file that is
//! taken: a variant is another file with the same functions. `linear`, `attention` and `choice` (of the next token) choose sizes and files, `header` writes,
//! `validate` hands the result to naga and maps its complaints back to the files.

mod attention;
mod bindings;
mod choice;
mod header;
mod linear;
pub mod training;
mod validate;

use gpt_plan::{Format, Kernel, Op, Phase, Spec, Tensor};

pub use attention::split;
pub use choice::{ChoiceSizes, kernel as choice};
pub use validate::{validate, validate_all, variants};

/// The kernel of step `name`, or none if the matrix has more parts in `format` than a kernel can bind. `tensors` is the model's
/// table, for the shapes of the matrix that `op` reads and for the offsets of its vectors ([`gpt_plan::vector_offset`]).
pub fn kernel(
    model: &str,
    spec: &Spec,
    tensors: &[Tensor],
    name: &str,
    op: &Op,
    phase: Phase,
    format: Format,
) -> Option<Kernel> {
    let context = Context {
        model,
        spec,
        tensors,
        name,
        phase,
        format,
    };
    match *op {
        Op::Attention => Some(attention::kernel(&context)),
        Op::Embed { table, positions } => linear::embed(&context, op, table, positions.is_some()),
        _ => linear::kernel(&context, op),
    }
}

/// What every kernel is made from.
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

    /// The opening of a header: whose kernel this is.
    fn title(&self, what: &str) -> String {
        let rows = match self.phase {
            Phase::Decode => "for one token",
            Phase::Prefill => "for many tokens",
        };
        format!("{}: {} {rows}, {what}.", self.model, self.name)
    }
}
