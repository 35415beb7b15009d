//! The memory of a training run, known before it starts.

use crate::{Buffer, Place, Plan, Role, Tensor, TensorId, TensorKind};

/// The batch of a training pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainShape {
    /// Sequences.
    pub batch: u32,
    /// Tokens of each sequence.
    pub tokens: u32,
    /// The activations that the backward pass computes again.
    pub recompute: Recompute,
}

/// The activations that the backward pass recomputes instead of reading stored ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recompute {
    /// Only cheap ones: norms, probabilities, dropout masks.
    #[default]
    Nothing,
    /// Each block's forward pass, from the residual stream at its input. Only the stream is stored
    /// (activation checkpointing, Chen et al. 2016).
    Block,
}

/// Bytes that a training run allocates on its device, by purpose. Excludes constant scratch memory
/// of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainBytes {
    /// The f32 weights.
    pub parameters: u64,
    /// Their gradients.
    pub gradients: u64,
    /// AdamW's two moments.
    pub optimizer: u64,
    /// Activations that the forward pass keeps for the backward pass.
    pub activations: u64,
    /// Buffers that are reused within a pass, the logits of a range of rows included.
    pub scratch: u64,
}

impl TrainBytes {
    /// The bytes for a model of `layers` layers and `elements` elements ([`Plan::trained_total`])
    /// that trains with `buffers`.
    pub const fn of(
        elements: u64,
        layers: u32,
        buffers: &[Buffer],
        shape: &TrainShape,
    ) -> TrainBytes {
        let (mut activations, mut scratch) = (0, 0);
        let mut i = 0;
        while i < buffers.len() {
            let buffer = &buffers[i];
            // Sizes that no machine has stay comparable with its memory.
            let copies = 4 * buffer.train_copies(layers, shape) as u64;
            let bytes = buffer.train_len(shape).saturating_mul(copies);
            if buffer.is_activation() {
                activations = bytes.saturating_add(activations);
            } else {
                scratch = bytes.saturating_add(scratch);
            }
            i += 1;
        }
        TrainBytes {
            parameters: 4 * elements,
            gradients: 4 * elements,
            optimizer: 8 * elements,
            activations,
            scratch,
        }
    }

    /// The sum of all purposes.
    pub const fn total(&self) -> u64 {
        let weights = self.parameters + self.gradients + self.optimizer;
        weights.saturating_add(self.activations).saturating_add(self.scratch)
    }
}

impl Recompute {
    /// Whether a layer is computed again in the backward pass.
    pub const fn is_block(self) -> bool {
        matches!(self, Recompute::Block)
    }
}

impl TrainShape {
    /// Tokens of all sequences.
    pub const fn rows(&self) -> u64 {
        self.batch as u64 * self.tokens as u64
    }
}

/// Alignment of tensors in a flat buffer, in elements: 256 bytes, the default alignment of a GPU
/// binding.
pub const PARAMETER_ALIGN: u64 = 64;

impl Plan {
    /// Rows of a tensor in training. Rows of a matrix are padded to whole panels of 32, and each
    /// half of a gated matrix to a multiple of 16. Tables and vectors are not padded.
    pub const fn trained_rows(&self, tensor: &Tensor, is_gated: bool) -> u32 {
        match tensor.kind {
            TensorKind::Matrix if is_gated => 2 * (tensor.rows / 2).next_multiple_of(16),
            TensorKind::Matrix => tensor.rows.next_multiple_of(32),
            TensorKind::Table | TensorKind::Vector => tensor.rows,
        }
    }

    /// Whether `id` is the first matrix of a gated MLP, whose first half gates the second.
    pub fn is_gated(&self, id: TensorId) -> bool {
        self.spec.mlp.gated
            && self.tensor(id).role == Role::MlpUp
            && self.tensor(id).kind == TensorKind::Matrix
    }

    /// Elements of one tensor in training, padding included.
    pub fn trained_len(&self, id: TensorId) -> u64 {
        let tensor = self.tensor(id);
        let rows = self.trained_rows(tensor, self.is_gated(id));
        (u64::from(rows) * u64::from(tensor.columns)).next_multiple_of(PARAMETER_ALIGN)
    }

    /// Every trained tensor with its layer, in the order of a flat buffer: the model's tensors,
    /// then each layer's.
    pub fn trained(&self) -> impl Iterator<Item = (TensorId, u32)> {
        let of = move |layer: Option<u32>| {
            let tensors = self.tensors.iter().enumerate();
            tensors.filter_map(move |(i, tensor)| {
                let here = match (tensor.place, layer) {
                    (Place::Model, None) => true,
                    (Place::Layers { first }, Some(layer)) => layer >= first,
                    _ => false,
                };
                let learned = !tensor.sources.is_empty();
                (here && learned).then_some((TensorId(i as u16), layer.unwrap_or(0)))
            })
        };
        let layers = (0..self.spec.layers).map(Some);
        std::iter::once(None).chain(layers).flat_map(of)
    }

    /// Elements of all trained tensors, padding included.
    pub fn trained_total(&self) -> u64 {
        self.trained().map(|(id, _)| self.trained_len(id)).sum()
    }

    /// Bytes that training with `shape` allocates, on either engine.
    pub fn train_bytes(&self, shape: &TrainShape) -> TrainBytes {
        let (elements, layers) = (self.trained_total(), self.spec.layers);
        TrainBytes::of(elements, layers, &self.training.buffers, shape)
    }
}
