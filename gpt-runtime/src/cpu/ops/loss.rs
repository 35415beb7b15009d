//! Cross entropy of a chunk of rows, and its gradient.

use super::RowsOut;
use crate::cpu::device::CpuDevice;
use crate::cpu::pool::Disjoint;
use crate::cpu::simd::Running;

/// Writes the loss of each row to `losses`, and replaces its logits by their gradient times
/// `scale`.
pub fn cross_entropy(
    device: &CpuDevice,
    targets: &[u32],
    scale: f32,
    logits: &RowsOut<'_>,
    losses: &mut [f32],
) {
    let losses = Disjoint::new(losses);
    let kernels = device.kernels;
    device.each_row(targets.len(), |row| {
        // SAFETY: each row is written by one task.
        let (logits, loss) = unsafe { (logits.row(row), losses.part(row, 1)) };
        let target = targets[row] as usize;
        let target_logit = logits[target];
        let mut state = Running::EMPTY;
        kernels.softmax_block(logits, logits.len(), 1.0, &mut state);
        loss[0] = state.sum.ln() - (target_logit - state.max);
        kernels.scale(logits, scale / state.sum);
        logits[target] -= scale;
    });
}
