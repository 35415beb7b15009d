//! A model's parameters in the engine's form, without their widths in the type. The typed face (`typed`) and the
//! walker (`walk`) both wrap these, so there is one implementation of every step.

use gpt_plan::{Norm, Plan, TensorId};

use super::device::CpuDevice;
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
}

impl Reader<'_> {
    pub fn matrix(&self, id: TensorId, layer: u32, order: Order) -> Result<Packed, Error> {
        Ok(Packed::new(
            &self.device.pool,
            &self.weights.tensor(id, layer)?,
            order,
        ))
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

/// Cosine and sine of every rotary angle: `[positions][head_dim / 2]` each. Empty for a model without rotation.
pub struct Rotary {
    pub cos: Vec<f32>,
    pub sin: Vec<f32>,
    pub pairs: usize,
}

impl Rotary {
    pub fn new(plan: &Plan) -> Rotary {
        let angles = crate::weights::rotary(&plan.spec);
        let pairs = if angles.is_empty() {
            0
        } else {
            plan.spec.head_dim as usize / 2
        };
        let (cos, sin) = angles.into_iter().map(|[cos, sin]| (cos, sin)).unzip();
        Rotary { cos, sin, pairs }
    }
}
