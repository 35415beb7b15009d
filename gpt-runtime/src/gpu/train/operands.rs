//! Assigns a resource to each operand of a training kernel, depending on the step that runs it.

use gpt_plan::{BufferId, Epilogue, Heads, NormRef, Op, Operand, Projection, Slot, TensorId};

use crate::engine::TensorState;

/// A resource that a training kernel binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A buffer of the pass.
    Slot(Slot),
    /// A whole tensor, or its gradient.
    Tensor(TensorId, TensorState),
    /// The slice of the step's matrix that the dispatch works on, or its gradient.
    Slice(TensorState),
    /// The counterpart of that slice in the other half of a gated matrix.
    SecondSlice,
    /// Embeddings of positions: the table if they are computed, otherwise the tensor.
    Positions(TensorId),
    /// The table of rotary angles.
    Angles,
}

/// The operands of a step.
#[derive(Clone, Default)]
pub struct StepOperands {
    slots: Vec<(Operand, Slot)>,
    norm: Option<NormRef>,
    bias: Option<TensorId>,
    positions: Option<TensorId>,
    types: Option<TensorId>,
    /// The matrix, whose slices are processed one after another.
    pub matrix: Option<TensorId>,
    /// Whether the step sums over the rows of its matrix, so that all slices but the first add to
    /// the output.
    pub sums_over_slices: bool,
}

impl StepOperands {
    /// The operands of a step with this op.
    pub fn of(op: &Op) -> StepOperands {
        use Operand as O;
        let none = StepOperands { matrix: op.matrix(), ..Default::default() };
        match *op {
            Op::Embed { positions, types, out, .. } => StepOperands {
                slots: vec![(O::Tokens, BufferId::Tokens.here()), (O::Out, out)],
                positions,
                types,
                ..none
            },
            Op::Norm { norm, x, sum, stats, out, .. } => {
                let stats = stats.map(|stats| (O::Stats, stats));
                let residual = sum.map(|sum| (O::Residual, sum.residual));
                let slots = [(O::X, x), (O::Out, out)];
                StepOperands {
                    slots: slots.into_iter().chain(stats).chain(residual).collect(),
                    norm: Some(norm),
                    ..none
                }
            }
            Op::NormHeads { norm, x, stats, heads, .. } => {
                let stats = stats.map(|stats| (O::Stats, stats));
                let slots = [(O::X, x), (O::Qkv, fused(heads))];
                StepOperands {
                    slots: slots.into_iter().chain(stats).collect(),
                    norm: Some(norm),
                    ..none
                }
            }
            Op::Project(ref projection) => {
                StepOperands { slots: projection_slots(projection), bias: projection.bias, ..none }
            }
            Op::Attention { heads, out, lse, .. } => {
                let lse = lse.map(|lse| (O::Lse, lse));
                let slots = [(O::Qkv, fused(heads)), (O::A, out)];
                StepOperands { slots: slots.into_iter().chain(lse).collect(), ..none }
            }
            Op::CrossEntropy { logits, losses, .. } => {
                let targets = BufferId::Targets.here();
                StepOperands {
                    slots: vec![(O::Logits, logits), (O::Targets, targets), (O::Losses, losses)],
                    ..none
                }
            }
            Op::EmbedBackward { positions, types, dx, .. } => StepOperands {
                slots: vec![(O::Tokens, BufferId::Tokens.here()), (O::Dy, dx)],
                positions,
                // The gradient of type 0 is a sum over rows, like the gradient of a bias.
                bias: types,
                ..none
            },
            Op::DropoutBackward { dy, out, .. } => {
                StepOperands { slots: vec![(O::Dy, dy), (O::Out, out)], ..none }
            }
            Op::ProjectInput { dy, slopes, out, .. } => StepOperands {
                slots: match slopes {
                    None => vec![(O::Dy, dy), (O::Out, out)],
                    Some(slopes) => vec![(O::Dy, dy), (O::DUp, out), (O::Slopes, slopes)],
                },
                sums_over_slices: true,
                ..none
            },
            Op::ProjectWeight { bias, dy, input, .. } => {
                StepOperands { slots: vec![(O::Dy, dy), (O::X, input)], bias, ..none }
            }
            Op::NormHeadsInput { norm, x, stats, dy, out }
            | Op::NormInput { norm, x, stats, dy, out, .. } => {
                if let Op::NormInput { residual: Some(slot), .. } = op {
                    assert!(*slot == out, "the stream's gradient is updated in place");
                }
                StepOperands {
                    slots: vec![(O::X, x), (O::Stats, stats), (O::Dy, dy), (O::Out, out)],
                    norm: Some(norm),
                    ..none
                }
            }
            Op::NormWeight { norm, x, stats, dy } | Op::NormHeadsWeight { norm, x, stats, dy } => {
                StepOperands {
                    slots: vec![(O::X, x), (O::Stats, stats), (O::Dy, dy)],
                    norm: Some(norm),
                    ..none
                }
            }
            Op::Add { a, b, out } => {
                assert_eq!(a, out, "a sum replaces its first term");
                StepOperands { slots: vec![(O::Dy, b), (O::Out, out)], ..none }
            }
            Op::Multiply { a, b, out } => {
                assert_eq!(a, out, "a product replaces its first factor");
                StepOperands { slots: vec![(O::Slopes, b), (O::Out, out)], ..none }
            }
            Op::AttentionBackward { qkv, out, lse, dout, delta, dqkv, .. } => StepOperands {
                slots: vec![
                    (O::Qkv, qkv),
                    (O::A, out),
                    (O::Lse, lse),
                    (O::Da, dout),
                    (O::Delta, delta),
                    (O::DQkv, dqkv),
                ],
                ..none
            },
        }
    }

    /// The resource that is `operand`.
    ///
    /// # Panics
    /// Panics if the step has no such operand. The compiler makes no such kernel.
    pub fn resource(&self, operand: Operand) -> Resource {
        let tensor = |id: Option<TensorId>, state| id.map(|id| Resource::Tensor(id, state));
        let gamma = self.norm.and_then(|norm| norm.gamma);
        let beta = self.norm.and_then(|norm| norm.beta);
        let resource = match operand {
            Operand::Gamma => tensor(gamma, TensorState::Parameter),
            Operand::Beta => tensor(beta, TensorState::Parameter),
            Operand::Bias => tensor(self.bias, TensorState::Parameter),
            Operand::DGamma => tensor(gamma, TensorState::Gradient),
            Operand::DBeta => tensor(beta, TensorState::Gradient),
            Operand::DBias => tensor(self.bias, TensorState::Gradient),
            Operand::DPositions => tensor(self.positions, TensorState::Gradient),
            Operand::Positions => self.positions.map(Resource::Positions),
            Operand::TokenTypes => tensor(self.types, TensorState::Parameter),
            Operand::Angles => Some(Resource::Angles),
            Operand::Weight(0) => Some(Resource::Slice(TensorState::Parameter)),
            Operand::SecondWeight => Some(Resource::SecondSlice),
            Operand::DWeight => Some(Resource::Slice(TensorState::Gradient)),
            _ => {
                let slot = self.slots.iter().find(|(known, _)| *known == operand);
                slot.map(|(_, slot)| Resource::Slot(*slot))
            }
        };
        resource.unwrap_or_else(|| panic!("the step has no operand {operand:?}"))
    }
}

fn projection_slots(projection: &Projection) -> Vec<(Operand, Slot)> {
    let mut slots = vec![(Operand::X, projection.input)];
    match projection.epilogue {
        Epilogue::Store { out, .. } => slots.push((Operand::Out, out)),
        Epilogue::Heads { heads, .. } => slots.push((Operand::Qkv, fused(heads))),
        Epilogue::Activation { out, slopes, .. } => {
            slots.push((Operand::H, out));
            slots.extend(slopes.map(|slopes| (Operand::Slopes, slopes)));
        }
        Epilogue::Residual { residual, out, .. } => {
            slots.extend([(Operand::Residual, residual), (Operand::Out, out)]);
        }
    }
    slots
}

/// The buffer of fused rows of queries, keys and values.
fn fused(heads: Heads) -> Slot {
    match heads {
        Heads::Fused { qkv } => qkv,
        Heads::Cached { .. } => unreachable!("training has no cache"),
    }
}
