//! AdamW over flat buffers, with clipping by the global norm of the gradient (Loshchilov and
//! Hutter 2019).

use crate::cpu::device::CpuDevice;
use crate::cpu::pool::Disjoint;
use crate::engine::Update;
use gpt_simd::AdamStep;

/// Elements in a task.
const TASK: usize = 1 << 16;
/// Elements whose squares are summed in f32; the partial sums are added in f64.
const SUM: usize = 1 << 12;

/// A range of parameters: weight decay applies to all of them, or to none.
#[derive(Clone, Copy)]
pub struct DecayRange {
    pub start: usize,
    pub len: usize,
    pub decays: bool,
}

/// The flat buffers of a step, all with the same layout, and the ranges in them.
pub struct Flat<'a> {
    pub values: &'a mut [f32],
    pub gradients: &'a [f32],
    pub first: &'a mut [f32],
    pub second: &'a mut [f32],
    pub ranges: &'a [DecayRange],
}

/// Scratch memory for the gradient's norm, allocated with the trainer.
pub struct PartialSums(Vec<f32>);

impl PartialSums {
    /// Allocates the sums for `len` gradients.
    pub fn new(len: usize) -> PartialSums {
        PartialSums(vec![0.0; len.div_ceil(SUM)])
    }
}

/// Updates the parameters and returns the gradient's norm. Changes nothing if the norm is not
/// finite.
pub fn update(
    device: &CpuDevice,
    parameters: Flat<'_>,
    sums: &mut PartialSums,
    update: &Update,
) -> f64 {
    let scale = f64::from(update.scale);
    let norm = norm(device, parameters.gradients, sums) / scale;
    if !norm.is_finite() {
        return norm;
    }
    let shrink = match update.clip {
        Some(clip) if norm > f64::from(clip) => f64::from(clip) / norm,
        _ => 1.0,
    };
    let correction = |beta: f32| 1.0 - f64::from(beta).powf(update.step as f64);
    let step = |decays: bool| AdamStep {
        rate: (f64::from(update.lr) / correction(update.beta1)) as f32,
        keep: if decays { 1.0 - update.lr * update.weight_decay } else { 1.0 },
        beta1: update.beta1,
        beta2: update.beta2,
        eps: update.eps,
        root: (1.0 / correction(update.beta2).sqrt()) as f32,
        shrink: (shrink / scale) as f32,
    };
    let gradients = parameters.gradients;
    let values = Disjoint::new(parameters.values);
    let first = Disjoint::new(parameters.first);
    let second = Disjoint::new(parameters.second);
    let (plain, decayed) = (step(false), step(true));
    for range in parameters.ranges {
        let step = if range.decays { &decayed } else { &plain };
        device.pool.run(range.len.div_ceil(TASK), &|task, _| {
            let from = range.start + task * TASK;
            let len = TASK.min(range.start + range.len - from);
            // SAFETY: each task writes its own elements.
            let (p, m, v) =
                unsafe { (values.part(from, len), first.part(from, len), second.part(from, len)) };
            let g = &gradients[from..][..len];
            device.kernels.adamw(p, g, m, v, step);
        });
    }
    norm
}

/// The norm of all gradients; padding is zero.
fn norm(device: &CpuDevice, gradients: &[f32], PartialSums(sums): &mut PartialSums) -> f64 {
    assert_eq!(sums.len(), gradients.len().div_ceil(SUM), "partial sums");
    let out = Disjoint::new(sums);
    device.pool.run(gradients.len().div_ceil(TASK), &|task, _| {
        let from = task * TASK;
        let gradients = &gradients[from..(from + TASK).min(gradients.len())];
        for (i, block) in gradients.chunks(SUM).enumerate() {
            // SAFETY: each block writes its own sum.
            let sum = unsafe { out.part(from / SUM + i, 1) };
            sum[0] = device.kernels.squares(block);
        }
    });
    sums.iter().map(|&sum| f64::from(sum)).sum::<f64>().sqrt()
}
