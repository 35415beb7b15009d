//! After a pass: the gradient's norm, and AdamW over flat buffers.

use super::parameters::Parameters;
use crate::cpu::device::CpuDevice;
use crate::cpu::pool::Disjoint;
use crate::cpu::simd::AdamStep;
use crate::engine::Update;

/// Elements of a task.
const TASK: usize = 1 << 16;
/// Elements whose squares are summed in f32; sums of these are f64.
const SUM: usize = 1 << 12;

/// One step; returns the gradient's norm, and does nothing if that is not finite.
pub fn update(device: &CpuDevice, parameters: &mut Parameters, update: &Update) -> f64 {
    let scale = f64::from(update.scale);
    let norm = norm(device, &parameters.gradients) / scale;
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
        keep: if decays {
            1.0 - update.lr * update.weight_decay
        } else {
            1.0
        },
        beta1: update.beta1,
        beta2: update.beta2,
        eps: update.eps,
        root: (1.0 / correction(update.beta2).sqrt()) as f32,
        shrink: (shrink / scale) as f32,
    };
    let Parameters {
        values,
        gradients,
        first,
        second,
        runs,
        ..
    } = parameters;
    let values = Disjoint::new(values);
    let (first, second) = (Disjoint::new(first), Disjoint::new(second));
    let (kept, decayed) = (step(false), step(true));
    for &(start, len, decays) in runs.iter() {
        device.pool.run(len.div_ceil(TASK), &|task, _| {
            let from = start + task * TASK;
            let len = TASK.min(start + len - from);
            // SAFETY: tasks have elements of their own.
            let (p, m, v) = unsafe {
                (
                    values.part(from, len),
                    first.part(from, len),
                    second.part(from, len),
                )
            };
            let step = if decays { &decayed } else { &kept };
            device
                .kernels
                .adamw(p, &gradients[from..][..len], m, v, step);
        });
    }
    norm
}

/// The norm of all gradients; padding is zero.
fn norm(device: &CpuDevice, gradients: &[f32]) -> f64 {
    let mut sums = vec![0.0; gradients.len().div_ceil(SUM)];
    let out = Disjoint::new(&mut sums);
    device.pool.run(gradients.len().div_ceil(TASK), &|task, _| {
        let from = task * TASK;
        let gradients = &gradients[from..(from + TASK).min(gradients.len())];
        for (i, part) in gradients.chunks(SUM).enumerate() {
            // SAFETY: each part has a sum of its own.
            let sum = unsafe { out.part(from / SUM + i, 1) };
            sum[0] = device.kernels.squares(part);
        }
    });
    sums.iter().map(|&sum| f64::from(sum)).sum::<f64>().sqrt()
}
