//! The inference half of a plan: its buffers, and the kernels of its steps by phase and format.

use gpt_plan::{
    Buffer, BufferId, Copies, Format, Kernel, KernelChoice, NO_KERNEL, Op, Phase, RowCount,
    SamplingOp, Section, Spec, SplitAttention, Step, StepKernels,
};

use super::forward::{self, Named, Ops, PassSlots};
use super::tensors::Table;
use crate::wgsl;

/// The sections and kernels of inference.
pub struct Inference {
    pub sections: Vec<Section>,
    /// Every kernel of the steps, of `split_attention` and of `sampling`.
    pub kernels: Vec<Kernel>,
    pub split_attention: Option<SplitAttention>,
    pub sampling: [u16; SamplingOp::ALL.len()],
}

impl Inference {
    pub fn new(model: &str, spec: &Spec, table: &Table) -> Inference {
        let mut build = Builder { model, spec, table, kernels: Vec::new() };
        let sections = forward::forward(spec, table, &PassSlots::INFERENCE)
            .into_iter()
            .map(|Ops { repeat, kinds }| Section {
                repeat,
                period: kinds.len() as u32,
                steps: kinds.into_iter().flatten().map(|op| build.step(op)).collect(),
            })
            .collect();
        let split_attention = wgsl::split_attention(model, spec).map(|[split, merge]| {
            SplitAttention { split: build.add(split), merge: build.add(merge) }
        });
        let sampling = SamplingOp::ALL.map(|op| build.add(wgsl::sampling(model, spec, op)));
        Inference { sections, kernels: build.kernels, split_attention, sampling }
    }
}

/// The buffers of a forward pass and of sampling.
pub fn buffers(spec: &Spec, split: bool) -> Vec<Buffer> {
    let sampling = wgsl::SamplingSizes::new(spec);
    let buffer = |id, width, rows| Buffer {
        id,
        width,
        stride: width,
        rows,
        copies: match rows {
            RowCount::Capacity if id != BufferId::Sampled => Copies::PerLayer,
            _ => Copies::One,
        },
    };
    let branch = if spec.block.norms_branches() { spec.embed } else { 0 };
    let embedded = if spec.embedding_norm { spec.embed } else { 0 };
    let head = if spec.head_dense { spec.embed } else { 0 };
    let raw = if spec.qk_norm.is_some() { spec.qkv_width() } else { 0 };
    let splits = if split { spec.heads * (spec.head_dim + 2) } else { 0 };
    vec![
        buffer(BufferId::X, spec.embed, RowCount::Chunk),
        buffer(BufferId::Q, spec.q_width(), RowCount::Chunk),
        buffer(BufferId::A, spec.q_width(), RowCount::Chunk),
        buffer(BufferId::H, spec.mlp.hidden, RowCount::Chunk),
        buffer(BufferId::Embedded, embedded, RowCount::Chunk),
        buffer(BufferId::QkvRaw, raw, RowCount::Chunk),
        buffer(BufferId::AttnBranch, branch, RowCount::Chunk),
        buffer(BufferId::MlpBranch, branch, RowCount::Chunk),
        buffer(BufferId::HeadHidden, head, RowCount::Requested),
        buffer(BufferId::Logits, spec.vocab, RowCount::Requested),
        buffer(BufferId::K, spec.kv_width(), RowCount::Capacity),
        buffer(BufferId::V, spec.kv_width(), RowCount::Capacity),
        buffer(BufferId::SplitSums, splits, RowCount::Splits),
        buffer(BufferId::TileMaxima, 2 * sampling.tiles, RowCount::One),
        buffer(BufferId::Histogram, 2 * sampling.bins + 1, RowCount::One),
        buffer(BufferId::Candidates, 2 * spec.vocab, RowCount::One),
        buffer(BufferId::Sampled, 1, RowCount::Capacity),
    ]
}

struct Builder<'a> {
    model: &'a str,
    spec: &'a Spec,
    table: &'a Table,
    kernels: Vec<Kernel>,
}

impl Builder<'_> {
    fn step(&mut self, Named { name, op }: Named) -> Step {
        let decode = self.choice(&name, &op, Phase::Decode);
        let prefill = self.choice(&name, &op, Phase::Prefill);
        Step { name: name.into(), op, kernels: StepKernels::Inference { decode, prefill } }
    }

    fn choice(&mut self, name: &str, op: &Op, phase: Phase) -> KernelChoice {
        if op.matrix().is_none() {
            return KernelChoice::Plain(self.kernel(name, op, phase, Format::F32));
        }
        KernelChoice::ByFormat(Format::ALL.map(|format| self.kernel(name, op, phase, format)))
    }

    /// The index of the kernel, or [`NO_KERNEL`] if the matrix does not fit in a kernel's bindings.
    fn kernel(&mut self, name: &str, op: &Op, phase: Phase, format: Format) -> u16 {
        let kernel =
            wgsl::kernel(self.model, self.spec, &self.table.tensors, name, op, phase, format);
        kernel.map_or(NO_KERNEL, |kernel| self.add(kernel))
    }

    /// Adds a kernel unless another step or phase has added it, and returns its index.
    fn add(&mut self, kernel: Kernel) -> u16 {
        if let Some(known) = self.kernels.iter().position(|k| k.name == kernel.name) {
            assert_eq!(self.kernels[known], kernel, "two kernels have one name");
            return known as u16;
        }
        self.kernels.push(kernel);
        (self.kernels.len() - 1) as u16
    }
}
