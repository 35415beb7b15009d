//! Steps and sections: the order of a pass's ops, their repetition, and their GPU kernels.

use serde::Serialize;

use crate::{Format, List, Op, Phase, Str, TensorId};

/// One op of a pass, and the GPU kernels that run it. The CPU engine needs only the op.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Step {
    /// Name in traces, profiles and messages: `qkv`, `attention`, `mlp_down`, `mlp_down_weight`.
    pub name: Str,
    /// The operation.
    pub op: Op,
    /// The GPU kernels that compute it.
    pub kernels: StepKernels,
}

/// The GPU kernels of a step.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub enum StepKernels {
    /// For a step of inference: one dispatch, of the kernel for one token or the kernel for many.
    /// Kernels are indices into [`Plan::kernels`](crate::Plan::kernels).
    Inference {
        /// The kernel for one token.
        decode: KernelChoice,
        /// The kernel for many tokens.
        prefill: KernelChoice,
    },
    /// For a step of training, forward or backward: dispatches one after the other, as indices into
    /// [`Training::kernels`](crate::Training::kernels).
    Train(List<u16>),
}

/// Stands for a missing kernel. In some formats a large matrix needs more storage buffers than a
/// kernel can bind. A step has no kernels for such formats.
pub const NO_KERNEL: u16 = u16::MAX;

/// The kernel of a step for each format of its matrix. A kernel is an index or [`NO_KERNEL`].
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub enum KernelChoice {
    /// The step reads no matrix.
    Plain(u16),
    /// One kernel for each format of the step's matrix, in the order of [`Format::ALL`].
    ByFormat([u16; Format::ALL.len()]),
}

impl KernelChoice {
    /// The kernel for a matrix stored as `format`.
    pub const fn of(&self, format: Format) -> u16 {
        match self {
            KernelChoice::Plain(kernel) => *kernel,
            KernelChoice::ByFormat(kernels) => kernels[format as usize],
        }
    }
}

/// Steps that run together, once or repeatedly.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Section {
    /// How often the steps run.
    pub repeat: Repeat,
    /// The number of kinds of layers that alternate: 1 if all layers are of the same kind, 2 if
    /// every other layer has a sliding window.
    pub period: u32,
    /// The steps of a layer in order, for the first kind of layer, then for the second, and so on.
    /// All kinds have the same number of steps.
    pub steps: List<Step>,
}

impl Section {
    /// The steps of `layer`. The section must run for this layer.
    pub fn of_layer(&self, layer: u32) -> &[Step] {
        let first = match self.repeat {
            Repeat::Once | Repeat::LogitRanges => layer,
            Repeat::Layers { from, .. } | Repeat::LayersReversed { from, .. } => from,
        };
        let count = self.steps.len() / self.period as usize;
        let kind = ((layer - first) % self.period) as usize;
        &self.steps[kind * count..][..count]
    }

    /// The number of times that the steps of one kind run: once for each layer of the kind. `kind`
    /// is an index below `period`.
    pub fn count(&self, kind: u32) -> u32 {
        (self.repeat.count() + self.period - 1 - kind) / self.period
    }
}

/// The repetition of a section.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub enum Repeat {
    /// Once in a pass.
    Once,
    /// For each of the layers `from..to`, ascending.
    Layers {
        /// The first layer.
        from: u32,
        /// The layer after the last.
        to: u32,
    },
    /// For each of the layers `from..to`, descending.
    LayersReversed {
        /// The layer that runs last.
        from: u32,
        /// The layer after the one that runs first.
        to: u32,
    },
    /// For each range of the batch's rows whose logits are computed together: as many rows as the
    /// logits buffer holds.
    LogitRanges,
}

impl Repeat {
    /// The number of times that a section runs. Ranges, whose number depends on the rows, count
    /// once.
    pub const fn count(self) -> u32 {
        match self {
            Repeat::Once | Repeat::LogitRanges => 1,
            Repeat::Layers { from, to } | Repeat::LayersReversed { from, to } => to - from,
        }
    }

    /// The layers for which a section runs, in order. Only layer 0 if it does not run by layers.
    pub fn layers(self) -> impl Iterator<Item = u32> {
        let (from, to, reversed) = match self {
            Repeat::Once | Repeat::LogitRanges => (0, 1, false),
            Repeat::Layers { from, to } => (from, to, false),
            Repeat::LayersReversed { from, to } => (from, to, true),
        };
        (from..to).map(move |layer| if reversed { from + to - 1 - layer } else { layer })
    }

    /// Whether a section runs for `layer`, ascending or descending. False if it does not run by
    /// layers.
    pub fn has_layer(self, layer: u32) -> bool {
        match self {
            Repeat::Once | Repeat::LogitRanges => false,
            Repeat::Layers { from, to } | Repeat::LayersReversed { from, to } => {
                (from..to).contains(&layer)
            }
        }
    }

    /// The repetition in a model that has only the first `layers` layers.
    pub fn truncated(self, layers: u32) -> Repeat {
        match self {
            Repeat::Once | Repeat::LogitRanges => self,
            Repeat::Layers { from, to } => {
                Repeat::Layers { from: from.min(layers), to: to.min(layers) }
            }
            Repeat::LayersReversed { from, to } => {
                Repeat::LayersReversed { from: from.min(layers), to: to.min(layers) }
            }
        }
    }
}

impl Step {
    /// The matrix that the step reads, or whose gradient it computes.
    pub const fn matrix(&self) -> Option<TensorId> {
        self.op.matrix()
    }

    /// The kernels of an inference step in `phase`, by format; `None` for a training step.
    pub const fn choice(&self, phase: Phase) -> Option<KernelChoice> {
        match (&self.kernels, phase) {
            (StepKernels::Inference { decode, .. }, Phase::Decode) => Some(*decode),
            (StepKernels::Inference { prefill, .. }, Phase::Prefill) => Some(*prefill),
            (StepKernels::Train(_), _) => None,
        }
    }

    /// The kernel of an inference step in `phase` for a matrix stored as `format`. [`NO_KERNEL`] if
    /// there is none, and for a training step.
    pub const fn kernel(&self, phase: Phase, format: Format) -> u16 {
        match self.choice(phase) {
            Some(choice) => choice.of(format),
            None => NO_KERNEL,
        }
    }

    /// The kernels of a training step, in order; empty for an inference step.
    pub fn train_kernels(&self) -> &[u16] {
        match &self.kernels {
            StepKernels::Inference { .. } => &[],
            StepKernels::Train(kernels) => kernels,
        }
    }
}
