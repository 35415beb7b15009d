//! A model's parameters in the form that operations read: for inference in this file, for training
//! in `training`.

#[cfg(feature = "train")]
mod training;

use gpt_plan::{Norm, NormRef, Plan, Role, TensorId};

#[cfg(feature = "train")]
pub use training::TrainParameters;

use super::device::CpuDevice;
use super::memory::Arena;
use super::ops::norm::forward::NormOperands;
use super::pack::{Order, Packed};
use crate::Error;
use crate::weights::Weights;

/// A linear layer.
pub struct ProjectionParameters {
    pub weight: Packed,
    pub bias: Option<Vec<f32>>,
}

/// A norm's parameters.
pub struct NormParameters {
    kind: Norm,
    /// Ones if the norm has no scale, so that all norms share one inner loop.
    gamma: Vec<f32>,
    /// Empty if the norm has none.
    beta: Vec<f32>,
}

impl NormParameters {
    pub fn operands(&self) -> NormOperands<'_> {
        NormOperands { kind: self.kind, gamma: &self.gamma, beta: &self.beta }
    }
}

/// The number of elements in the scale of a norm.
fn norm_width(plan: &Plan, role: Role) -> usize {
    match (role, plan.spec.qk_groups()) {
        (Role::QkNorm, Some(groups)) => groups.parameters as usize,
        _ => plan.spec.embed as usize,
    }
}

/// Reads the parameters of a model from its weights, and packs matrices.
#[derive(Clone, Copy)]
pub struct ParameterReader<'a> {
    pub plan: &'static Plan,
    pub weights: &'a dyn Weights,
    pub device: &'a CpuDevice,
    pub arena: &'a Arena,
}

impl ParameterReader<'_> {
    pub fn matrix(&self, id: TensorId, layer: u32, order: Order) -> Result<Packed, Error> {
        let parts = self.weights.parts(id, layer)?;
        if Packed::can_join(&parts, order) {
            return Packed::of_parts(self.device, self.arena, &parts, order);
        }
        drop(parts);
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
    ) -> Result<ProjectionParameters, Error> {
        Ok(ProjectionParameters {
            weight: self.matrix(weight, layer, order)?,
            bias: bias.map(|bias| self.vector(bias, layer)).transpose()?,
        })
    }

    pub fn norm(&self, norm: NormRef, layer: u32) -> Result<NormParameters, Error> {
        let ones = || vec![1.0; norm_width(self.plan, norm.role)];
        let vector = |id| self.vector(id, layer);
        Ok(NormParameters {
            kind: self.plan.spec.norm_of(norm.role),
            gamma: norm.gamma.map_or_else(|| Ok(ones()), vector)?,
            beta: norm.beta.map_or(Ok(Vec::new()), vector)?,
        })
    }
}
