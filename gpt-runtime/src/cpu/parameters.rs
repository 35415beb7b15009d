//! A model's parameters in the engine's form, without their widths in the type. The typed face (`typed`) and the
//! walker (`walk`) both wrap these, so there is one implementation of every step.

use gpt_plan::{Norm, Plan, TensorId};

use super::device::CpuDevice;
use super::memory::Arena;
use super::pack::{Order, Packed};
use crate::Error;
use crate::weights::Weights;

/// A linear layer.
pub struct Projection {
    pub weight: Packed,
    pub bias: Option<Vec<f32>>,
}

/// A norm's parameters.
pub struct NormParameters {
    pub kind: Norm,
    pub gamma: Vec<f32>,
    /// Empty where the norm has none.
    pub beta: Vec<f32>,
}

/// Reads parameters of one model out of its weights, and packs them.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    pub plan: &'static Plan,
    pub weights: &'a dyn Weights,
    pub device: &'a CpuDevice,
    pub arena: &'a Arena,
}

impl Reader<'_> {
    pub fn matrix(&self, id: TensorId, layer: u32, order: Order) -> Result<Packed, Error> {
        let tensor = self.weights.tensor(id, layer)?;
        Packed::new(self.device, self.arena, &tensor, order)
    }

    pub fn vector(&self, id: TensorId, layer: u32) -> Result<Vec<f32>, Error> {
        let tensor = self.weights.tensor(id, layer)?;
        Ok(bytemuck::pod_collect_to_vec(&tensor.data))
    }

    pub fn projection(
        &self,
        weight: TensorId,
        bias: Option<TensorId>,
        layer: u32,
        order: Order,
    ) -> Result<Projection, Error> {
        Ok(Projection {
            weight: self.matrix(weight, layer, order)?,
            bias: bias.map(|bias| self.vector(bias, layer)).transpose()?,
        })
    }

    pub fn norm(
        &self,
        gamma: TensorId,
        beta: Option<TensorId>,
        layer: u32,
    ) -> Result<NormParameters, Error> {
        Ok(NormParameters {
            kind: self.plan.spec.norm,
            gamma: self.vector(gamma, layer)?,
            beta: beta.map_or(Ok(Vec::new()), |beta| self.vector(beta, layer))?,
        })
    }
}

/// Cosine and sine of every rotary angle; of none for a model without rotation.
pub struct Rotary {
    /// `[positions][head_dim / 2]`; empty if the model has no rotary positions.
    cos: Vec<f32>,
    sin: Vec<f32>,
    head_dim: usize,
    /// How many of the outputs of `qkv`, from the first on, are turned: queries and keys.
    turned: usize,
}

impl Rotary {
    pub fn new(plan: &Plan) -> Rotary {
        let spec = &plan.spec;
        let angles = crate::weights::rotary(spec);
        let turned = if angles.is_empty() {
            0
        } else {
            (spec.q_width() + spec.kv_width()) as usize
        };
        let (cos, sin) = angles.into_iter().map(|[cos, sin]| (cos, sin)).unzip();
        Rotary {
            cos,
            sin,
            head_dim: spec.head_dim as usize,
            turned,
        }
    }

    /// Turns outputs of `qkv` for the token at `position`, of which `outputs` are those from `first` (an even number) on. Heads that are turned have an
    /// even width, so pairs stay together.
    #[inline(always)]
    pub fn turn(&self, position: usize, first: usize, outputs: &mut [f32]) {
        let end = outputs.len().min(self.turned.saturating_sub(first));
        let mut at = 0;
        while at < end {
            let d = (first + at) % self.head_dim;
            let part = &mut outputs[at..end.min(at + self.head_dim - d)];
            at += part.len();
            for (pair, (cos, sin)) in pairs(part).zip(self.angles(position, d)) {
                *pair = [pair[0] * cos - pair[1] * sin, pair[0] * sin + pair[1] * cos];
            }
        }
    }

    /// The gradient of a turned head at `position` becomes that of the head: the inverse of a rotation is its transpose.
    pub fn turn_back(&self, position: usize, head: &mut [f32]) {
        if self.turned == 0 {
            return;
        }
        for (pair, (cos, sin)) in pairs(head).zip(self.angles(position, 0)) {
            *pair = [pair[0] * cos + pair[1] * sin, pair[1] * cos - pair[0] * sin];
        }
    }

    /// Cosines and sines at `position`, from element `d` of a head on.
    fn angles(&self, position: usize, d: usize) -> impl Iterator<Item = (&f32, &f32)> {
        let start = position * (self.head_dim / 2) + d / 2;
        self.cos[start..].iter().zip(&self.sin[start..])
    }
}

fn pairs(part: &mut [f32]) -> impl Iterator<Item = &mut [f32; 2]> {
    part.as_chunks_mut::<2>().0.iter_mut()
}
