//! Parameters, gradients and moments of training: four flat buffers with the same layout.
//!
//! Tensors follow each other in the order of [`Plan::trained`]. A matrix is stored in panels of 32
//! rows, so that the forward product and the gradient of the weights read and write it directly.
//! For a gated MLP, a panel holds 16 gate rows and the 16 rows that they gate. Rows of padding stay
//! zero, because their gradients are zero. Tables and vectors are stored row by row.

use gpt_plan::{NormRef, Plan, Role, TensorId, TensorKind};

use super::norm_width;
use crate::Error;
use crate::cpu::device::CpuDevice;
use crate::cpu::memory::{Arena, Floats};
use crate::cpu::ops::norm::forward::NormOperands;
use crate::cpu::ops::optimizer::{DecayRange, Flat, PartialSums, update};
use crate::cpu::pack::{FloatPanels, Order, PanelLayout};
use crate::cpu::pool::Disjoint;
use crate::engine::{TensorState, Update};
use crate::weights::{Weights, format};

pub struct TrainParameters {
    values: Floats,
    pub gradients: Floats,
    first: Floats,
    second: Floats,
    /// The extent of each tensor in each layer, by tensor and then by layer.
    extents: Vec<Vec<TensorExtent>>,
    decays: Vec<DecayRange>,
    sums: PartialSums,
    /// Whether products round their operands to bf16.
    pub rounds: bool,
    /// By tensor: tables that are computed once and not trained; otherwise empty.
    fixed: Vec<Vec<f32>>,
    /// The scale for a norm without one, so that all norms share one inner loop.
    ones: Vec<f32>,
}

/// The range of the flat buffers that one tensor takes.
#[derive(Clone, Copy, Debug)]
pub struct TensorExtent {
    pub start: usize,
    pub len: usize,
    pub layout: PanelLayout,
    kind: TensorKind,
}

impl TensorExtent {
    /// Elements without padding.
    pub fn elements(&self) -> usize {
        self.layout.rows * self.layout.columns
    }

    /// Calls `f` with the index of each element in the tensor's range of the flat buffers and its
    /// index in `[rows, columns]`.
    fn each_element(&self, mut f: impl FnMut(usize, usize)) {
        match self.kind {
            TensorKind::Matrix => self.layout.each_element(f),
            _ => (0..self.elements()).for_each(|i| f(i, i)),
        }
    }
}

impl TrainParameters {
    /// Allocates all buffers and reads the parameters from `weights`.
    ///
    /// # Errors
    /// Fails if the weights cannot be read, or if there is too little memory.
    pub fn new(
        device: &CpuDevice,
        arena: &Arena,
        plan: &'static Plan,
        weights: &dyn Weights,
        rounds: bool,
    ) -> Result<Self, Error> {
        let mut extents: Vec<Vec<TensorExtent>> = vec![Vec::new(); plan.tensors.len()];
        let mut decays: Vec<DecayRange> = Vec::new();
        let mut start = 0;
        for (id, layer) in plan.trained() {
            let tensor = plan.tensor(id);
            let len = plan.trained_len(id) as usize;
            let extent = TensorExtent {
                start,
                len,
                layout: PanelLayout {
                    rows: tensor.rows as usize,
                    columns: tensor.columns as usize,
                    order: match plan.is_gated(id) {
                        true => Order::Gated,
                        false => Order::Straight,
                    },
                },
                kind: tensor.kind,
            };
            let of_tensor = &mut extents[usize::from(id.0)];
            // A tensor that the first layers lack has an unused entry for each of them.
            while of_tensor.len() < layer as usize {
                of_tensor.push(extent);
            }
            of_tensor.push(extent);
            let is_decayed = tensor.kind != TensorKind::Vector;
            match decays.last_mut() {
                Some(range) if range.decays == is_decayed => range.len += len,
                _ => decays.push(DecayRange { start, len, decays: is_decayed }),
            }
            start += len;
        }
        let mut parameters = TrainParameters {
            values: arena.floats(start)?,
            gradients: arena.floats(start)?,
            first: arena.floats(start)?,
            second: arena.floats(start)?,
            extents,
            decays,
            sums: PartialSums::new(start),
            rounds,
            fixed: vec![Vec::new(); plan.tensors.len()],
            ones: vec![
                1.0;
                norm_width(plan, Role::AttentionNorm).max(norm_width(plan, Role::QkNorm))
            ],
        };
        parameters.load(device, plan, weights)?;
        Ok(parameters)
    }

    fn load(
        &mut self,
        device: &CpuDevice,
        plan: &Plan,
        weights: &dyn Weights,
    ) -> Result<(), Error> {
        let values = |id, layer| -> Result<Vec<f32>, Error> {
            let tensor = weights.tensor(id, layer)?;
            let row_bytes = tensor.format.row_bytes(tensor.columns);
            let mut values = vec![0.0; tensor.rows * tensor.columns];
            let shared = Disjoint::new(&mut values);
            device.pool.run(tensor.rows, &|row, _| {
                let bytes = &tensor.data[row * row_bytes..][..row_bytes];
                // SAFETY: task `row` writes only row `row`.
                let out = unsafe { shared.part(row * tensor.columns, tensor.columns) };
                format::decode(tensor.format, bytes, out);
            });
            Ok(values)
        };
        for (id, layer) in plan.trained() {
            self.write(plan, TensorState::Parameter, id, layer, &values(id, layer)?);
        }
        for (i, tensor) in plan.tensors.iter().enumerate() {
            if tensor.sources.is_empty() {
                self.fixed[i] = values(TensorId(i as u16), 0)?;
            }
        }
        Ok(())
    }

    /// Runs one step of AdamW and returns the gradient's norm.
    pub fn update(&mut self, device: &CpuDevice, step: &Update) -> f64 {
        let flat = Flat {
            values: &mut self.values,
            gradients: &self.gradients,
            first: &mut self.first,
            second: &mut self.second,
            ranges: &self.decays,
        };
        update(device, flat, &mut self.sums, step)
    }

    /// Bytes of each of the four buffers.
    pub fn bytes(&self) -> [u64; 4] {
        [&self.values, &self.gradients, &self.first, &self.second].map(|b| 4 * b.len() as u64)
    }

    pub fn extent(&self, id: TensorId, layer: usize) -> TensorExtent {
        let of_tensor = &self.extents[usize::from(id.0)];
        of_tensor[layer.min(of_tensor.len() - 1)]
    }

    /// The values of a vector or a table, trained or computed.
    pub fn plain(&self, id: TensorId, layer: usize) -> &[f32] {
        let fixed = &self.fixed[usize::from(id.0)];
        if !fixed.is_empty() {
            return fixed;
        }
        let extent = self.extent(id, layer);
        &self.values[extent.start..][..extent.elements()]
    }

    /// The parameters of a norm.
    pub fn norm(&self, plan: &Plan, norm: NormRef, layer: usize) -> NormOperands<'_> {
        NormOperands {
            kind: plan.spec.norm_of(norm.role),
            gamma: match norm.gamma {
                Some(id) => self.plain(id, layer),
                None => &self.ones[..norm_width(plan, norm.role)],
            },
            beta: norm.beta.map_or(&[], |id| self.plain(id, layer)),
        }
    }

    /// A matrix in the form that products read.
    pub fn matrix(&self, id: TensorId, layer: usize) -> FloatPanels<'_> {
        let extent = self.extent(id, layer);
        FloatPanels {
            layout: extent.layout,
            rounds: self.rounds,
            values: &self.values[extent.start..][..extent.len],
        }
    }

    fn state(&mut self, state: TensorState) -> &mut [f32] {
        match state {
            TensorState::Parameter => &mut self.values,
            TensorState::Gradient => &mut self.gradients,
            TensorState::FirstMoment => &mut self.first,
            TensorState::SecondMoment => &mut self.second,
        }
    }

    /// Copies a tensor of a layer to `values`, `[rows, columns]`.
    pub fn read(
        &mut self,
        plan: &Plan,
        state: TensorState,
        id: TensorId,
        layer: u32,
        values: &mut [f32],
    ) {
        let extent = self.checked(plan, id, layer, values.len());
        let from = &self.state(state)[extent.start..][..extent.len];
        extent.each_element(|at, value| values[value] = from[at]);
    }

    /// Copies `values` to a tensor of a layer.
    pub fn write(
        &mut self,
        plan: &Plan,
        state: TensorState,
        id: TensorId,
        layer: u32,
        values: &[f32],
    ) {
        let extent = self.checked(plan, id, layer, values.len());
        let to = &mut self.state(state)[extent.start..][..extent.len];
        extent.each_element(|at, value| to[at] = values[value]);
    }

    fn checked(&self, plan: &Plan, id: TensorId, layer: u32, len: usize) -> TensorExtent {
        let extent = self.extent(id, layer as usize);
        let name = &plan.tensor(id).name;
        assert_eq!(len, extent.elements(), "elements of {name}");
        extent
    }
}
