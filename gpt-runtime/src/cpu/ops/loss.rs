//! Cross entropy of a range of rows, and its gradient.

use gpt_plan::Formula;

use super::RowsOut;
use crate::cpu::device::CpuDevice;
use crate::cpu::pool::Disjoint;
use crate::engine::IGNORED;
use gpt_simd::{Kernels, Running};

/// The number of logits whose gradients are computed together if there is a slope. The slope is a
/// function of the logits, so exponentials cannot replace the logits before it is computed.
const BLOCK: usize = 256;

/// Writes the loss of each row to `losses`, and replaces the row's logits by their gradients times
/// `scale`; with `slope`, also times the slope of each logit. A row whose target is [`IGNORED`] has
/// the loss 0 and the gradient 0.
pub fn cross_entropy(
    device: &CpuDevice,
    targets: &[u32],
    scale: f32,
    slope: Option<&Formula>,
    logits: &RowsOut<'_>,
    losses: &mut [f32],
) {
    let losses = Disjoint::new(losses);
    let kernels = device.kernels;
    device.each_row(targets.len(), |row| {
        // SAFETY: each row is written by one task.
        let (logits, loss) = unsafe { (logits.row(row), losses.part(row, 1)) };
        if targets[row] == IGNORED {
            logits.fill(0.0);
            loss[0] = 0.0;
            return;
        }
        let target = targets[row] as usize;
        let target_logit = logits[target];
        let mut state = Running::EMPTY;
        match slope {
            None => {
                kernels.softmax_block(logits, logits.len(), 1.0, &mut state);
                kernels.scale(logits, scale / state.sum);
                logits[target] -= scale;
            }
            Some(slope) => {
                softmax_statistics(kernels, logits, &mut state);
                gradients(kernels, &state, slope, target, scale, logits);
            }
        }
        loss[0] = state.sum.ln() - (target_logit - state.max);
    });
}

/// Computes the greatest logit and the sum of exponentials into `state`. The logits are unchanged.
fn softmax_statistics(kernels: &Kernels, logits: &[f32], state: &mut Running) {
    let mut scratch = [0.0; BLOCK];
    for block in logits.chunks(BLOCK) {
        let scratch = &mut scratch[..block.len()];
        scratch.copy_from_slice(block);
        kernels.softmax_block(scratch, block.len(), 1.0, state);
    }
}

/// Replaces `logits` by `(softmax(logits) - onehot(target)) * slope(logits) * scale`.
fn gradients(
    kernels: &Kernels,
    state: &Running,
    slope: &Formula,
    target: usize,
    scale: f32,
    logits: &mut [f32],
) {
    let mut scratch = [0.0; BLOCK];
    for (i, block) in logits.chunks_mut(BLOCK).enumerate() {
        let scratch = &mut scratch[..block.len()];
        scratch.copy_from_slice(block);
        // `known` already has the maximum, so each number becomes the exponential of its difference
        // from it.
        let mut known = *state;
        kernels.softmax_block(scratch, block.len(), 1.0, &mut known);
        if let Some(own) = target.checked_sub(i * BLOCK).and_then(|at| scratch.get_mut(at)) {
            *own -= state.sum;
        }
        slope.apply(block);
        let factor = scale / state.sum;
        for (out, exponential) in block.iter_mut().zip(scratch) {
            *out *= *exponential * factor;
        }
    }
}
