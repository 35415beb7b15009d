//! Assigns a buffer of a session to each operand of a kernel.

use gpt_plan::{BufferId, Epilogue, Op, Operand, Projection};

/// A buffer of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionBuffer {
    /// Position and rows of the pass, for all steps but the head.
    PassUniform,
    /// Position and rows of the head, which may run on fewer rows.
    HeadPassUniform,
    /// Options of sampling.
    Sampling,
    /// Tokens of the pass.
    Tokens,
    /// The residual stream that the step reads.
    StreamIn,
    /// The residual stream that the step writes: the other one of two buffers.
    StreamOut,
    /// A buffer of the plan.
    Plan(BufferId),
}

/// The buffer that is `operand` in a kernel of `op`. Kernels of split attention and of sampling
/// belong to no op.
pub fn buffer(op: Option<&Op>, operand: Operand) -> SessionBuffer {
    use SessionBuffer::Plan;
    match operand {
        Operand::PassUniform if op.is_some_and(Op::is_head) => SessionBuffer::HeadPassUniform,
        Operand::PassUniform => SessionBuffer::PassUniform,
        Operand::HeadPassUniform => SessionBuffer::HeadPassUniform,
        Operand::Sampling => SessionBuffer::Sampling,
        Operand::Tokens => SessionBuffer::Tokens,
        Operand::X => SessionBuffer::StreamIn,
        Operand::Out => match op {
            Some(Op::Embed { out, .. }) if out.buffer != BufferId::X => Plan(out.buffer),
            _ => SessionBuffer::StreamOut,
        },
        Operand::Activations => Plan(match op {
            Some(Op::Project(projection)) => projection.input.buffer,
            Some(Op::Norm { x, .. } | Op::NormHeads { x, .. }) => x.buffer,
            _ => unreachable!("the step has no input but the stream"),
        }),
        Operand::Product => match op {
            Some(Op::Project(Projection { epilogue: Epilogue::Store { out, .. }, .. })) => {
                Plan(out.buffer)
            }
            _ => unreachable!("the step stores no product"),
        },
        Operand::Q => Plan(BufferId::Q),
        Operand::A => Plan(BufferId::A),
        Operand::H => Plan(match op {
            Some(Op::Project(Projection {
                epilogue: Epilogue::Activation { out, .. }, ..
            })) => out.buffer,
            _ => unreachable!("the step has no activation"),
        }),
        Operand::KCache => Plan(BufferId::K),
        Operand::VCache => Plan(BufferId::V),
        Operand::SplitSums => Plan(BufferId::SplitSums),
        Operand::Logits => Plan(BufferId::Logits),
        Operand::TileMaxima => Plan(BufferId::TileMaxima),
        Operand::Histogram => Plan(BufferId::Histogram),
        Operand::Candidates => Plan(BufferId::Candidates),
        Operand::Sampled => Plan(BufferId::Sampled),
        _ => unreachable!("{operand:?} is not an operand of inference"),
    }
}
