//! The backward pass of a projection: two more products, one of output gradients with the
//! transposed matrix, and one of output gradients with inputs.

use super::epilogue::EpilogueFn;
use super::gemm::{GemmInput, gemm};
use crate::cpu::device::CpuDevice;
use crate::cpu::pack::{FloatPanels, PanelLayout, Transposed};
use crate::cpu::pool::Disjoint;
use crate::cpu::scratch::weight_gradient::{COLUMNS, INPUTS, PAIRED_COLUMNS, ROWS};
use gpt_simd::{Bf16Pair, Kernels, PANEL, Strided, StridedMut};

/// Rows that are multiplied at a time. Their output gradients for a panel stay in the first-level
/// cache. With pairs of bf16, the gradients of all [`ROWS`] do.
const NEAR: usize = 128;

/// Passes `dy · matrix`, the gradient of the input, to `epilogue`.
pub fn input(
    device: &CpuDevice,
    dy: Strided<'_>,
    rows: usize,
    matrix: FloatPanels<'_>,
    epilogue: EpilogueFn<'_>,
) {
    let matrix = Transposed(matrix);
    gemm(device, GemmInput::Plain(dy), rows, &matrix, epilogue);
}

/// The gradients of a projection: the flat buffer that holds them, and their offsets there.
pub struct WeightGradient<'a> {
    pub layout: PanelLayout,
    /// The offset of the weight's gradient.
    pub weight: usize,
    /// The offset of the bias's gradient.
    pub bias: Option<usize>,
    pub gradients: &'a mut [f32],
    /// Whether to add to the gradients; otherwise they are replaced.
    pub add: bool,
}

/// Computes `d(weight) = dyᵀ · x` and `d(bias) = Σ dy` into the gradients `to`. With `rounds`, the
/// operands of `dyᵀ · x` are rounded to bf16.
pub fn weight(
    device: &CpuDevice,
    rows: usize,
    [x, dy]: [Strided<'_>; 2],
    rounds: bool,
    to: WeightGradient<'_>,
) {
    let WeightGradient { layout, bias, add, .. } = to;
    let out = Disjoint::new(to.gradients);
    let kernels = device.kernels;
    let most = match rounds && kernels.has_pairs() {
        true => PAIRED_COLUMNS,
        false => COLUMNS,
    };
    let parts = layout.columns.div_ceil(most);
    let share = layout.columns.div_ceil(parts);
    let groups = (2 * device.pool.threads()).div_ceil(parts);
    let group = layout.panels().div_ceil(groups);
    let groups = layout.panels().div_ceil(group);
    device.pool.run(groups * parts, &|task, thread| {
        let (part, from) = (task % parts, task % parts * share);
        let columns = share.min(layout.columns - from);
        let panels = task / parts * group..((task / parts + 1) * group).min(layout.panels());
        let mut scratch = device.scratch(thread);
        let (x_scratch, dy_scratch) = scratch.inputs.split_at_mut(INPUTS);
        for row in (0..rows).step_by(ROWS) {
            let depth = ROWS.min(rows - row);
            let x = Strided { data: &x.data[row * x.stride + from..], stride: x.stride };
            let x = InputBlock::new(kernels, x, [depth, columns], rounds, x_scratch);
            for panel in panels.clone() {
                let start = to.weight + (panel * layout.columns + from) * PANEL;
                let dy = Strided {
                    data: &dy.data[row * dy.stride + panel * PANEL..],
                    stride: dy.stride,
                };
                // SAFETY: each task writes its own columns of its own panels.
                let out = unsafe { out.part(start, columns * PANEL) };
                x.multiply(kernels, dy, dy_scratch, out, add || row > 0);
            }
        }
        let (Some(bias), 0) = (bias, part) else {
            return;
        };
        for panel in panels {
            let mut sums = [0.0; PANEL];
            kernels.row_sums(&dy.data[panel * PANEL..], rows, dy.stride, &mut sums);
            for (lane, row) in layout.rows_of(panel) {
                // SAFETY: each row is one lane of one panel.
                let out = unsafe { out.part(bias + row, 1) };
                out[0] = if add { out[0] + sums[lane] } else { sums[lane] };
            }
        }
    });
}

/// A block of inputs, `depth` rows of `columns`, in the form that the kernels multiply.
enum InputBlock<'a> {
    /// f32. With `rounds`, rounded to bf16; the output gradients must be rounded too.
    Plain { x: Strided<'a>, shape: [usize; 2], rounds: bool },
    /// Rounded to bf16; a pair holds the same column of two rows.
    Pairs(&'a [Bf16Pair], [usize; 2]),
}

impl<'a> InputBlock<'a> {
    fn new(
        kernels: &Kernels,
        x: Strided<'a>,
        [depth, columns]: [usize; 2],
        rounds: bool,
        scratch: &'a mut [f32],
    ) -> Self {
        if rounds && kernels.has_pairs() {
            let pairs: &mut [Bf16Pair] = bytemuck::cast_slice_mut(scratch);
            kernels.pair_rows(x, [depth, columns], pairs);
            return InputBlock::Pairs(pairs, [depth, columns]);
        }
        let mut x = x;
        if rounds {
            kernels.copy_rows(x, [depth, columns], true, scratch);
            x = Strided { data: scratch, stride: columns };
        }
        InputBlock::Plain { x, shape: [depth, columns], rounds }
    }

    /// `out (+)= xᵀ · dy`, where `dy` has the 32 columns of a panel and the rows of the block.
    fn multiply(
        &self,
        kernels: &Kernels,
        dy: Strided<'a>,
        scratch: &mut [f32],
        out: &mut [f32],
        add: bool,
    ) {
        // The rows of `dy` are on more pages than the first-level TLB holds. Each column reads
        // them, so they are first copied without gaps.
        match *self {
            InputBlock::Plain { x, shape: [depth, columns], rounds } => {
                for start in (0..depth).step_by(NEAR) {
                    let depth = NEAR.min(depth - start);
                    let from =
                        |of: Strided<'a>| Strided { data: &of.data[start * of.stride..], ..of };
                    kernels.copy_rows(from(dy), [depth, PANEL], rounds, scratch);
                    let dy = Strided { data: &*scratch, stride: PANEL };
                    let output = StridedMut { data: &mut *out, stride: PANEL };
                    let add = add || start > 0;
                    kernels.product_of_columns(columns, depth, from(x), dy, output, add);
                }
            }
            InputBlock::Pairs(x, [depth, columns]) => {
                let pairs: &mut [Bf16Pair] = bytemuck::cast_slice_mut(scratch);
                kernels.pair_rows(dy, [depth, PANEL], pairs);
                let x = Strided { data: x, stride: columns };
                let dy = Strided { data: &*pairs, stride: PANEL };
                let output = StridedMut { data: out, stride: PANEL };
                kernels.product_of_columns(columns, depth.div_ceil(2), x, dy, output, add);
            }
        }
    }
}
