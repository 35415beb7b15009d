//! The tables of a model: positions or rotary angles, and token types.

use bytemuck::cast_slice;
use gpt_plan::{Component, Plan, Positions, Role};
use wgpu::{Buffer, BufferUsages};

use super::device::GpuDevice;
use crate::Error;
use crate::weights::{Weights, rotary};

/// Uploads the first `tokens` rows of the table: embeddings of positions, learned or computed, or
/// rotary angles. For a model without such a table, creates a small buffer instead.
///
/// # Errors
/// Fails if the table cannot be read, or if the device is out of memory.
pub fn upload(
    device: &GpuDevice,
    plan: &Plan,
    weights: &dyn Weights,
    tokens: u32,
) -> Result<Buffer, Error> {
    let tokens = tokens.min(plan.spec.context) as usize;
    match &plan.spec.positions {
        Positions::Learned | Positions::Sinusoidal => {
            let id = plan.role(Role::Positions, Component::Weight).expect("a table of positions");
            let bytes = 4 * tokens * plan.spec.embed as usize;
            let table = weights.tensor(id, 0)?;
            let name = "the table of positions";
            device.upload(name, &table.data[..bytes], BufferUsages::STORAGE)
        }
        // Kernels compute the biases, and none of them binds this buffer.
        Positions::Alibi { .. } => {
            device.upload("no table of positions", &[0; 16], BufferUsages::STORAGE)
        }
        Positions::Rope(_) => {
            let angles = rotary(&plan.spec);
            let of_token = angles.len() / plan.spec.context as usize;
            let angles = &angles[..tokens * of_token];
            let name = "the table of rotary angles";
            device.upload(name, cast_slice(angles), BufferUsages::STORAGE)
        }
    }
}

/// Uploads the table of token types, if the model has one.
///
/// # Errors
/// See [`upload`].
pub fn upload_token_types(
    device: &GpuDevice,
    plan: &Plan,
    weights: &dyn Weights,
) -> Result<Option<Buffer>, Error> {
    let Some(id) = plan.role(Role::TokenTypes, Component::Weight) else { return Ok(None) };
    let table = weights.tensor(id, 0)?;
    device.upload("the table of token types", &table.data, BufferUsages::STORAGE).map(Some)
}
