//! The plan, and figures computed from it: parameters, operations, bytes, dispatches.

use serde::Serialize;

use crate::{
    Buffer, BufferId, Component, Format, Kernel, List, Phase, Place, Role, SamplingOp, Section,
    Spec, Step, Str, Tensor, TensorId, TensorKind, Training,
};

/// The largest binding, in bytes, that every WebGPU adapter supports. A larger tensor is split into
/// parts.
pub const MAX_BINDING: u64 = 128 << 20;

/// A model as data: everything that an engine needs to run or train it.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Plan {
    /// The model's name, as declared.
    pub name: Str,
    /// The resolved spec.
    pub spec: Spec,
    /// The parameters, and the computed tables.
    pub tensors: List<Tensor>,
    /// The activation buffers of a forward pass, and the buffers of sampling.
    pub buffers: List<Buffer>,
    /// The GPU kernels of a forward pass and of sampling.
    pub kernels: List<Kernel>,
    /// The steps of a forward pass.
    pub sections: List<Section>,
    /// The attention of a decoded token to more than [`SPLIT_FROM`] keys. `None` if no token
    /// attends to so many, or if the model is bidirectional.
    pub split_attention: Option<SplitAttention>,
    /// The kernels that sample the next token, as indices into `kernels` in the order of
    /// [`SamplingOp::ALL`].
    pub sampling: [u16; SamplingOp::ALL.len()],
    /// A training pass.
    pub training: Training,
}

/// The largest number of keys that a decoded token attends to without splits. One workgroup for
/// each head leaves most of a GPU idle. With splits, each layer needs another dispatch, which
/// merges them.
pub const SPLIT_FROM: u32 = 1024;

/// Keys of a split.
pub const SPLIT_KEYS: u32 = 512;

/// Attention of one token over splits of the keys, as indices into [`Plan::kernels`].
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub struct SplitAttention {
    /// The kernel that computes an online softmax over the keys of each split.
    pub split: u16,
    /// The kernel that merges the splits.
    pub merge: u16,
}

/// The elements of a list, borrowed or owned; a `const` cannot deref a [`List`].
pub const fn elements<T: Clone>(list: &List<T>) -> &[T] {
    match list {
        List::Borrowed(elements) => elements,
        List::Owned(elements) => elements.as_slice(),
    }
}

impl Plan {
    /// The tensor `id`.
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[usize::from(id.0)]
    }

    /// The id of the tensor called `name`.
    pub fn find(&self, name: &str) -> Option<TensorId> {
        self.tensors.iter().position(|t| t.name == name).map(|i| TensorId(i as u16))
    }

    /// The tensor with this role and component, if the model has one.
    pub fn role(&self, role: Role, component: Component) -> Option<TensorId> {
        let found = |t: &Tensor| t.role == role && t.component == component;
        let at = self.tensors.iter().position(found)?;
        Some(TensorId(at as u16))
    }

    /// The buffer `id` of a forward pass.
    ///
    /// # Panics
    /// Panics if a forward pass has no such buffer.
    pub fn buffer(&self, id: BufferId) -> &Buffer {
        let found = self.buffers.iter().find(|buffer| buffer.id == id);
        found.unwrap_or_else(|| panic!("a forward pass has no buffer {}", id.name()))
    }

    /// Number of trainable parameters.
    pub fn params(&self) -> u64 {
        self.tensors.iter().filter(|t| !t.sources.is_empty()).map(|t| t.len() * self.count(t)).sum()
    }

    /// The number of copies of `tensor` in the model: one, or one in each layer that has it.
    pub fn count(&self, tensor: &Tensor) -> u64 {
        match tensor.place {
            Place::Model => 1,
            Place::Layers { first } => u64::from(self.spec.layers - first),
        }
    }

    /// Floating-point operations of one token's forward pass with an empty cache: two for each
    /// element of each multiplied matrix. This includes the head and excludes embedding look-ups.
    /// Attention adds `4 * heads * head_dim * layers` for each position in the cache.
    pub fn flops_per_token(&self) -> u64 {
        self.multiplied().map(|(_, t)| 2 * t.len() * self.count(t)).sum()
    }

    /// Floating-point operations of a pass over `rows` tokens on a cache of `position` tokens,
    /// which computes the logits of `logits` of these tokens. Counts like
    /// [`flops_per_token`](Self::flops_per_token), and adds the attention of each token to the keys
    /// that it sees.
    pub fn flops(&self, position: u64, rows: u64, logits: u64) -> u64 {
        let spec = &self.spec;
        let dense = if spec.head_dense { spec.embed } else { 0 };
        let head = 2 * u64::from(spec.vocab + dense) * u64::from(spec.embed);
        let seen = (0..spec.layers).map(|layer| spec.scores(layer).pairs(position, rows));
        let attention = 4 * u64::from(spec.q_width()) * seen.sum::<u64>();
        rows * (self.flops_per_token() - head) + logits * head + attention
    }

    /// Bytes of weights that decoding one token reads. `format` gives the format of a tensor in a
    /// layer.
    pub fn weight_bytes_per_token(&self, format: impl Fn(TensorId, u32) -> Format) -> u64 {
        self.multiplied()
            .flat_map(|(id, t)| t.layers(self.spec.layers).map(move |layer| (id, layer, t)))
            .map(|(id, layer, t)| {
                format(id, layer).row_bytes(t.columns as usize) as u64 * u64::from(t.rows)
            })
            .sum()
    }

    /// The format in which the most weights of multiplied matrices are stored. `format` gives the
    /// format of a tensor in a layer.
    pub fn main_format(&self, format: impl Fn(TensorId, u32) -> Format) -> Format {
        let mut weights = [0; Format::ALL.len()];
        for (id, t) in self.multiplied() {
            for layer in t.layers(self.spec.layers) {
                let of = Format::ALL.iter().position(|f| *f == format(id, layer));
                weights[of.unwrap_or_default()] += u64::from(t.rows) * u64::from(t.columns);
            }
        }
        let greatest = (0..weights.len()).max_by_key(|&i| weights[i]);
        Format::ALL[greatest.unwrap_or_default()]
    }

    fn multiplied(&self) -> impl Iterator<Item = (TensorId, &Tensor)> {
        let untied = !self.spec.tie_embeddings;
        self.tensors.iter().enumerate().filter_map(move |(i, t)| {
            let is_lookup = untied && t.role == Role::TokenEmbedding;
            (t.kind == TensorKind::Matrix && !is_lookup).then_some((TensorId(i as u16), t))
        })
    }

    /// Dispatches of a forward pass without split attention and without matrices of mixed formats.
    /// Both phases run the same steps.
    pub fn dispatches(&self, _phase: Phase) -> u32 {
        let sections = self.sections.iter();
        sections
            .map(|section| section.repeat.count() * (section.steps.len() as u32 / section.period))
            .sum()
    }

    /// The steps of a forward pass in order, each with its layer.
    pub fn steps(&self) -> impl Iterator<Item = (u32, &Step)> {
        self.sections.iter().flat_map(|section| {
            let layers = section.repeat.layers();
            layers.flat_map(move |layer| {
                let steps = section.of_layer(layer).iter();
                steps.map(move |step| (layer, step))
            })
        })
    }
}
