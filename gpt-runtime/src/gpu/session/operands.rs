//! Which buffer of a session an operand of a kernel is.

use gpt_plan::{BufferId, Op, Operand};

/// A buffer of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionBuffer {
    /// Position and rows of the pass, for all steps but the head.
    Run,
    /// The same for the head, which may run on fewer rows.
    HeadRun,
    /// Options of sampling.
    Sampling,
    /// Tokens of the pass.
    Tokens,
    /// The residual stream that the step reads.
    StreamIn,
    /// The residual stream that it writes: the other one of two buffers.
    StreamOut,
    /// A buffer of the plan.
    Plan(BufferId),
}

/// The buffer that is `operand` in a kernel of `op`. Kernels of split attention and of sampling
/// belong to no op.
pub fn buffer(op: Option<&Op>, operand: Operand) -> SessionBuffer {
    use SessionBuffer::Plan;
    match operand {
        Operand::Run if op.is_some_and(Op::is_head) => SessionBuffer::HeadRun,
        Operand::Run => SessionBuffer::Run,
        Operand::HeadRun => SessionBuffer::HeadRun,
        Operand::Sampling => SessionBuffer::Sampling,
        Operand::Tokens => SessionBuffer::Tokens,
        Operand::X => SessionBuffer::StreamIn,
        Operand::Out => SessionBuffer::StreamOut,
        Operand::Activations => {
            let projection = op.and_then(Op::projection);
            Plan(projection.expect("a projection's input").input.buffer)
        }
        Operand::Q => Plan(BufferId::Q),
        Operand::A => Plan(BufferId::A),
        Operand::H => Plan(BufferId::H),
        Operand::KCache => Plan(BufferId::K),
        Operand::VCache => Plan(BufferId::V),
        Operand::Splits => Plan(BufferId::SplitSums),
        Operand::Logits => Plan(BufferId::Logits),
        Operand::Tops => Plan(BufferId::TileMaxima),
        Operand::Histogram => Plan(BufferId::Histogram),
        Operand::Listed => Plan(BufferId::Candidates),
        Operand::Drawn => Plan(BufferId::Sampled),
        _ => unreachable!("{operand:?} is no operand of inference"),
    }
}
