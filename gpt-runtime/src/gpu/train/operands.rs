//! What an operand of a training kernel is, for the step that runs it.

use gpt_plan::{BufferName, Into, NormRef, Operand, Site, Slot, TensorId, TrainOp};

use crate::engine::State;

/// Something that a training kernel binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A buffer of the pass.
    Slot(Slot),
    /// A whole tensor, or its gradient.
    Tensor(TensorId, State),
    /// The slice of the step's matrix that the dispatch works on, or its gradient.
    Slice(State),
    /// The counterpart of the slice in the other half of a gated matrix.
    SecondSlice,
    /// Embeddings of positions: the table if they are computed, otherwise the tensor.
    Positions(TensorId),
    /// The table of rotary angles.
    Angles,
}

/// The operands that differ from step to step.
#[derive(Clone, Copy, Default)]
pub struct StepOperands {
    x: Option<Slot>,
    out: Option<Slot>,
    dy: Option<Slot>,
    dy_residual: Option<Slot>,
    residual: Option<Slot>,
    stats: Option<Slot>,
    norm: Option<NormRef>,
    bias: Option<TensorId>,
    positions: Option<TensorId>,
    /// The matrix, whose slices are worked on one after another.
    pub matrix: Option<TensorId>,
    /// Whether the step sums over the rows of its matrix, so that all slices but the first add to
    /// the output.
    pub sums_over_slices: bool,
    /// Where the step drops elements, if it does.
    pub site: Option<Site>,
}

impl StepOperands {
    pub fn of(op: &TrainOp) -> StepOperands {
        let none = StepOperands::default();
        match *op {
            TrainOp::Embed {
                table,
                positions,
                out,
            } => StepOperands {
                matrix: Some(table),
                positions,
                out: Some(out),
                site: Some(Site::Embedding),
                ..none
            },
            TrainOp::Norm {
                norm,
                x,
                stats,
                out,
            }
            | TrainOp::NormAgain {
                norm,
                x,
                stats,
                out,
            } => StepOperands {
                norm: Some(norm),
                x: Some(x),
                stats: Some(stats),
                out: Some(out),
                ..none
            },
            TrainOp::Qkv {
                weight,
                bias,
                input,
            }
            | TrainOp::MlpUp {
                weight,
                bias,
                input,
            } => StepOperands {
                matrix: Some(weight),
                bias,
                x: Some(input),
                ..none
            },
            TrainOp::Residual {
                weight,
                bias,
                input,
                residual,
                out,
                site,
            } => StepOperands {
                matrix: Some(weight),
                bias,
                x: Some(input),
                residual: Some(residual),
                out: Some(out),
                site: Some(site),
                ..none
            },
            TrainOp::Logits { weight } => StepOperands {
                matrix: Some(weight),
                x: Some(BufferName::N.here()),
                out: Some(BufferName::Logits.here()),
                ..none
            },
            TrainOp::Dropped { site, dy, out } => StepOperands {
                dy: Some(dy),
                out: Some(out),
                site: Some(site),
                ..none
            },
            TrainOp::Add { a, b, out } => {
                assert_eq!(a, out, "a sum replaces its first term");
                StepOperands {
                    dy: Some(b),
                    out: Some(out),
                    ..none
                }
            }
            TrainOp::LinearInput { weight, dy, into } => StepOperands {
                matrix: Some(weight),
                sums_over_slices: true,
                dy: Some(dy),
                out: match into {
                    Into::Store(out) => Some(out),
                    Into::ThroughActivation => None,
                },
                ..none
            },
            TrainOp::LinearWeight {
                weight,
                bias,
                dy,
                input,
            } => StepOperands {
                matrix: Some(weight),
                bias,
                dy: Some(dy),
                x: Some(input),
                ..none
            },
            TrainOp::NormInput {
                norm,
                x,
                stats,
                dy,
                also,
                add,
                out,
            } => {
                assert!(
                    also.or(add).is_none_or(|slot| slot == out),
                    "the stream's gradient is updated in place"
                );
                StepOperands {
                    norm: Some(norm),
                    x: Some(x),
                    stats: Some(stats),
                    dy: Some(dy),
                    out: Some(out),
                    ..none
                }
            }
            TrainOp::NormWeight {
                norm,
                x,
                stats,
                dy,
                also,
            } => StepOperands {
                norm: Some(norm),
                x: Some(x),
                stats: Some(stats),
                dy: Some(dy),
                dy_residual: also,
                ..none
            },
            TrainOp::EmbedWeight {
                table,
                positions,
                dx,
            } => StepOperands {
                matrix: Some(table),
                positions,
                dy: Some(dx),
                ..none
            },
            TrainOp::Attention | TrainOp::AttentionInput => StepOperands {
                site: Some(Site::Attention),
                ..none
            },
            TrainOp::CrossEntropy => none,
        }
    }

    /// The resource that is `operand`.
    pub fn resource(&self, operand: Operand) -> Resource {
        use BufferName as B;
        let missing = || panic!("the step has no operand {operand:?}");
        let slot = |slot: Option<Slot>| slot.map(Resource::Slot);
        let tensor = |id: Option<TensorId>, state| id.map(|id| Resource::Tensor(id, state));
        let gamma = self.norm.map(|norm| norm.gamma);
        let beta = self.norm.and_then(|norm| norm.beta);
        let fixed = |name: B| Some(Resource::Slot(name.here()));
        let resource = match operand {
            Operand::X => slot(self.x),
            Operand::Out => slot(self.out),
            Operand::Dy => slot(self.dy),
            Operand::DyResidual => slot(self.dy_residual),
            Operand::Residual => slot(self.residual),
            Operand::Stats => slot(self.stats),
            Operand::Tokens => fixed(B::Tokens),
            Operand::Targets => fixed(B::Targets),
            Operand::Qkv => fixed(B::Qkv),
            Operand::A => fixed(B::A),
            Operand::Lse => fixed(B::Lse),
            Operand::H => fixed(B::H),
            Operand::Slopes => fixed(B::Slopes),
            Operand::Logits => fixed(B::Logits),
            Operand::Losses => fixed(B::Losses),
            Operand::Da => fixed(B::DA),
            Operand::Delta => fixed(B::Delta),
            Operand::DQkv => fixed(B::DQkv),
            Operand::DUp => fixed(B::DUp),
            Operand::Gamma => tensor(gamma, State::Parameter),
            Operand::Beta => tensor(beta, State::Parameter),
            Operand::Bias => tensor(self.bias, State::Parameter),
            Operand::DGamma => tensor(gamma, State::Gradient),
            Operand::DBeta => tensor(beta, State::Gradient),
            Operand::DBias => tensor(self.bias, State::Gradient),
            Operand::DPositions => tensor(self.positions, State::Gradient),
            Operand::Positions => self.positions.map(Resource::Positions),
            Operand::Angles => Some(Resource::Angles),
            Operand::Weight(0) => Some(Resource::Slice(State::Parameter)),
            Operand::SecondWeight => Some(Resource::SecondSlice),
            Operand::DWeight => Some(Resource::Slice(State::Gradient)),
            _ => None,
        };
        resource.unwrap_or_else(missing)
    }
}
