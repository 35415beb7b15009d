//! What a training run takes, before it starts.

use super::TrainBuffer;
use crate::{Place, Plan, Tensor, TensorId, TensorKind};

/// What is trained at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainShape {
    /// Sequences.
    pub batch: u32,
    /// Tokens of each.
    pub tokens: u32,
    pub recompute: Recompute,
}

/// What is kept for the way back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recompute {
    /// All that takes time to make again.
    #[default]
    Nothing,
    /// Only the stream between blocks; a block's forward pass is run again on the way back (activation checkpointing, Chen et al. 2016).
    Block,
}

/// Bytes that a training run allocates on its device, by what they are for. Besides these a device has some constant scratch memory of
/// its own, whatever it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainBytes {
    /// The f32 weights.
    pub parameters: u64,
    /// Their gradients.
    pub gradients: u64,
    /// AdamW's two moments.
    pub optimizer: u64,
    /// What the forward pass keeps for the way back.
    pub activations: u64,
    /// What is used and used again, logits of a chunk included.
    pub scratch: u64,
}

impl TrainBytes {
    /// Of a model with so many [trained elements](Plan::trained_total), layers and these buffers.
    pub const fn of(
        elements: u64,
        layers: u32,
        buffers: &[TrainBuffer],
        shape: &TrainShape,
    ) -> TrainBytes {
        let (mut activations, mut scratch) = (0, 0);
        let mut i = 0;
        while i < buffers.len() {
            let buffer = &buffers[i];
            let bytes = 4 * buffer.len(shape) * buffer.count(layers, shape) as u64;
            if buffer.is_activation() {
                activations += bytes;
            } else {
                scratch += bytes;
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

    /// All together.
    pub const fn total(&self) -> u64 {
        self.parameters + self.gradients + self.optimizer + self.activations + self.scratch
    }
}

impl Recompute {
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

/// Elements at whose multiples a tensor begins in a flat buffer: 256 bytes, where a GPU may bind it.
pub const PARAMETER_ALIGN: u64 = 64;

impl Plan {
    /// Rows that a matrix has when it is trained: whole panels of 32; of a gated MLP, whose two halves are padded one by one, of 16 each.
    pub const fn trained_rows(&self, tensor: &Tensor, is_gated: bool) -> u32 {
        match tensor.kind {
            TensorKind::Matrix if is_gated => 2 * (tensor.rows / 2).next_multiple_of(16),
            TensorKind::Matrix => tensor.rows.next_multiple_of(32),
            TensorKind::Table | TensorKind::Vector => tensor.rows,
        }
    }

    /// Whether `id` is the first matrix of a gated MLP, of which one half gates the other.
    pub fn is_gated(&self, id: TensorId) -> bool {
        self.spec.mlp.gated && self.tensor(id).name == "mlp.up.weight"
    }

    /// Elements of one tensor as it is trained, padding included.
    pub fn trained_len(&self, id: TensorId) -> u64 {
        let tensor = self.tensor(id);
        let rows = self.trained_rows(tensor, self.is_gated(id));
        (u64::from(rows) * u64::from(tensor.columns)).next_multiple_of(PARAMETER_ALIGN)
    }

    /// Every tensor that is learned, layer by layer as they stand in a flat buffer: the model's, then each layer's.
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

    /// Elements of all learned tensors together, padding included.
    pub fn trained_total(&self) -> u64 {
        self.trained().map(|(id, _)| self.trained_len(id)).sum()
    }

    /// Bytes that training takes, on either engine.
    pub fn train_bytes(&self, shape: &TrainShape) -> TrainBytes {
        let (elements, layers) = (self.trained_total(), self.spec.layers);
        TrainBytes::of(elements, layers, &self.training.buffers, shape)
    }
}
