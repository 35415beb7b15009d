//! The engine's products in two forms, with sizes known at run time and with constant sizes. The
//! loops around them are the engine's.

use std::hint::black_box;

use gpt_runtime::Format;
use gpt_simd::{
    BLOCK, Bf16Pair, Isa, Kernels, PANEL, Strided, StridedMut, WIDE_BLOCK, const_sizes,
};

use super::memory::{Memory, Panels, Rounded};
use crate::versus::{Forms, two};

/// Rows of a prompt that are multiplied by a slice of a panel before the next slice.
pub const ROWS: usize = 96;
/// The depth of that slice.
const NEAR: usize = 128;
/// Blocks of that slice in a quantised panel.
const NEAR_BLOCKS: usize = 8;

/// The best instruction set of this processor, opaque to the compiler, and its kernels.
fn best() -> (Isa, &'static Kernels) {
    let isa = black_box(Isa::available()[0]);
    (isa, isa.kernels().expect("an available set"))
}

/// One row times all panels of a matrix that is not quantised. `PAIRS` is half of `DEPTH`.
pub fn row<const DEPTH: usize, const PAIRS: usize>(format: Format, rows: usize) -> Forms<'static> {
    let (isa, kernels) = best();
    let paired = kernels.group(format) == 2;
    two(|| {
        let (panels, x) = (Panels::new(format, rows, DEPTH), Memory::new(4 * DEPTH));
        let mut iteration = 0;
        move |literal| {
            iteration += 1;
            let x = &x.floats()[..DEPTH];
            // The engine rounds inputs to pairs before this product. Here any values do for them.
            let pairs: &[Bf16Pair] = bytemuck::cast_slice(&x[..PAIRS]);
            panels.matrix(iteration).fold(0.0, |sum, panel| {
                let mut out = [0.0; PANEL];
                match (paired, literal) {
                    (false, true) => const_sizes::gemv::<DEPTH>(isa, format, x, panel, &mut out),
                    (false, false) => kernels.gemv(format, x, panel, &mut out),
                    (true, true) => {
                        let panel = bytemuck::cast_slice(panel);
                        const_sizes::gemv_pairs::<PAIRS>(isa, pairs, panel, &mut out)
                    }
                    (true, false) => {
                        kernels.gemv_pairs(pairs, bytemuck::cast_slice(panel), &mut out)
                    }
                }
                sum + black_box(out)[0]
            })
        }
    })
}

/// One row times all panels of a quantised matrix, whose rows have `BLOCKS` blocks.
pub fn integer_row<const BLOCKS: usize>(format: Format, rows: usize) -> Forms<'static> {
    let (isa, kernels) = best();
    let depth = BLOCKS * BLOCK;
    two(|| {
        let panels = Panels::new(format, rows, depth);
        let x = Rounded::new(&Memory::new(4 * depth).floats()[..depth], depth);
        let mut iteration = 0;
        move |literal| {
            iteration += 1;
            panels.matrix(iteration).fold(0.0, |sum, panel| {
                let mut out = [0.0; PANEL];
                if literal {
                    const_sizes::integer_row::<BLOCKS>(isa, format, &x.rows(), panel, &mut out);
                } else {
                    kernels.integer_row(format, &x.rows(), panel, &mut out);
                }
                sum + black_box(out)[0]
            })
        }
    })
}

/// Whether this processor multiplies weights of `format` in pairs. A prompt's product of pairs has
/// only one form.
pub fn pairs(format: Format) -> bool {
    best().1.group(format) == 2
}

/// [`ROWS`] rows times all panels of a matrix that is not quantised, and not multiplied in
/// [`pairs`]. `REST` is the depth of a panel's last slice.
pub fn many<const DEPTH: usize, const REST: usize>(format: Format, rows: usize) -> Forms<'static> {
    let (isa, kernels) = best();
    two(|| {
        let panels = Panels::new(format, rows, DEPTH);
        let x = Memory::new(4 * ROWS * DEPTH);
        let mut tile = Memory::new(4 * ROWS * PANEL);
        let mut scratch = Memory::new(4 * NEAR * PANEL);
        let mut iteration = 0;
        move |literal| {
            iteration += 1;
            let tile = &mut tile.floats_mut()[..ROWS * PANEL];
            let mut sum = 0.0;
            for panel in panels.matrix(iteration) {
                for start in (0..DEPTH).step_by(NEAR) {
                    let depth = NEAR.min(DEPTH - start);
                    let part = &panel[format.row_bytes(start) * PANEL..];
                    let part = &part[..format.row_bytes(depth) * PANEL];
                    // The engine converts other formats to f32 before it multiplies the rows.
                    let part = if format == Format::F32 {
                        bytemuck::cast_slice(part)
                    } else {
                        kernels.unpack(format, depth, part, scratch.floats_mut());
                        scratch.floats()
                    };
                    let (x, add) = (&x.floats()[start..], start > 0);
                    if !literal {
                        let x = Strided { data: x, stride: DEPTH };
                        product_of_rows(kernels, black_box(ROWS), depth, x, part, tile, add);
                    } else if depth == NEAR {
                        const_sizes::product::<ROWS, NEAR, DEPTH, 1, PANEL, PANEL>(
                            isa, x, part, tile, add,
                        );
                    } else {
                        const_sizes::product::<ROWS, REST, DEPTH, 1, PANEL, PANEL>(
                            isa, x, part, tile, add,
                        );
                    }
                }
                sum += tile[ROWS * PANEL - 1];
            }
            sum
        }
    })
}

fn product_of_rows(
    kernels: &Kernels,
    rows: usize,
    depth: usize,
    input: Strided<'_>,
    panel: &[f32],
    tile: &mut [f32],
    add: bool,
) {
    let panel = Strided { data: panel, stride: PANEL };
    let output = StridedMut { data: tile, stride: PANEL };
    kernels.product(rows, depth, input, panel, output, add);
}

/// Many rows times all panels of a quantised matrix, whose rows have `BLOCKS` blocks, `REST` of
/// them in a panel's last slice.
pub fn integer_many<const BLOCKS: usize, const REST: usize>(
    format: Format,
    rows: usize,
) -> Forms<'static> {
    let (isa, kernels) = best();
    let depth = BLOCKS * BLOCK;
    two(|| {
        let panels = Panels::new(format, rows, depth);
        let x = Rounded::new(&Memory::new(4 * ROWS * depth).floats()[..ROWS * depth], depth);
        let mut tile = Memory::new(4 * ROWS * PANEL);
        let mut wide = vec![0; kernels.wide_bytes(NEAR_BLOCKS * WIDE_BLOCK)];
        let mut iteration = 0;
        move |literal| {
            iteration += 1;
            let tile = &mut tile.floats_mut()[..ROWS * PANEL];
            let mut sum = 0.0;
            for panel in panels.matrix(iteration) {
                for start in (0..BLOCKS).step_by(NEAR_BLOCKS) {
                    let blocks = NEAR_BLOCKS.min(BLOCKS - start);
                    let bytes = format.block_bytes() * PANEL;
                    let part = &panel[start * bytes..(start + blocks) * bytes];
                    let wide = kernels.widen(format, blocks, part, &mut wide);
                    let (x, add) = (x.rows().from(0, start), start > 0);
                    if !literal {
                        let shape = [black_box(ROWS), blocks];
                        kernels.integer_product(format, shape, x, part, wide, tile, add, &[]);
                    } else if blocks == NEAR_BLOCKS {
                        const_sizes::integer_product::<ROWS, NEAR_BLOCKS, BLOCKS>(
                            isa, format, &x, part, wide, tile, add,
                        );
                    } else {
                        const_sizes::integer_product::<ROWS, REST, BLOCKS>(
                            isa, format, &x, part, wide, tile, add,
                        );
                    }
                }
                sum += tile[ROWS * PANEL - 1];
            }
            sum
        }
    })
}

/// Attention's two products for `ROWS` queries of a head, `WIDTH` apart, and `blocks` blocks of 128
/// keys: scores, then the weighted sum of values. Heads are 64 wide. (The softmax between the
/// products is left out: its only size is the number of keys, which changes with every token.)
pub fn attention<const ROWS: usize, const WIDTH: usize>(blocks: usize) -> Forms<'static> {
    const HEAD: usize = 64;
    const KEYS: usize = 128;
    let (isa, kernels) = best();
    two(move || {
        let queries = Memory::new(4 * ROWS * WIDTH);
        let (keys, values) =
            (Memory::new(4 * blocks * KEYS * HEAD), Memory::new(4 * blocks * KEYS * HEAD));
        let mut scores = Memory::new(4 * ROWS * KEYS);
        let mut gathered = Memory::new(4 * ROWS * HEAD);
        move |literal| {
            let (scores, gathered) = (scores.floats_mut(), gathered.floats_mut());
            let block = KEYS * HEAD;
            let keys = keys.floats().chunks_exact(block);
            for (keys, values) in keys.zip(values.floats().chunks_exact(block)) {
                for (panel, keys) in keys.chunks_exact(HEAD * PANEL).enumerate() {
                    let out = &mut scores[panel * PANEL..];
                    if literal {
                        const_sizes::product::<ROWS, HEAD, WIDTH, 1, PANEL, KEYS>(
                            isa,
                            queries.floats(),
                            keys,
                            out,
                            false,
                        );
                    } else {
                        strided(
                            kernels,
                            black_box([ROWS, HEAD]),
                            [queries.floats(), keys],
                            out,
                            [WIDTH, PANEL, KEYS],
                            false,
                        );
                    }
                }
                for lane in (0..HEAD).step_by(PANEL) {
                    let (values, out) = (&values[lane..], &mut gathered[lane..]);
                    if literal {
                        const_sizes::product::<ROWS, KEYS, KEYS, 1, HEAD, HEAD>(
                            isa, scores, values, out, false,
                        );
                    } else {
                        strided(
                            kernels,
                            black_box([ROWS, KEYS]),
                            [scores, values],
                            out,
                            [KEYS, HEAD, HEAD],
                            false,
                        );
                    }
                }
            }
            gathered[ROWS * HEAD - 1]
        }
    })
}

/// The gradient of a matrix with `WIDTH` outputs and `COLUMNS` inputs, over 128 rows. Each product
/// computes the gradient for 32 outputs and 32 inputs, from the columns of the outputs' gradients
/// and the rows of inputs.
pub fn gradient<const WIDTH: usize, const COLUMNS: usize>() -> Forms<'static> {
    /// Rows of one product, as many as in the engine.
    const ROWS: usize = 128;
    /// Outputs whose gradients one product computes.
    const OUTPUTS: usize = 32;
    let (isa, kernels) = best();
    two(|| {
        let (dy, x) = (Memory::new(4 * ROWS * WIDTH), Memory::new(4 * ROWS * COLUMNS));
        let mut out = Memory::new(4 * OUTPUTS * PANEL);
        move |literal| {
            let out = &mut out.floats_mut()[..OUTPUTS * PANEL];
            let mut sum = 0.0;
            for output in (0..WIDTH).step_by(OUTPUTS) {
                let dy = &dy.floats()[output..];
                for column in (0..COLUMNS).step_by(PANEL) {
                    let x = &x.floats()[column..];
                    if literal {
                        const_sizes::product::<OUTPUTS, ROWS, 1, WIDTH, COLUMNS, PANEL>(
                            isa, dy, x, out, false,
                        );
                    } else {
                        let columns = Strided { data: dy, stride: black_box(WIDTH) };
                        let panel = Strided { data: x, stride: COLUMNS };
                        let output = StridedMut { data: &mut *out, stride: PANEL };
                        let (outputs, rows) = black_box((OUTPUTS, ROWS));
                        kernels.product_of_columns(outputs, rows, columns, panel, output, false);
                    }
                    sum += out[0];
                }
            }
            sum
        }
    })
}

/// `output (+)= input · panel` with strides of input, panel and output.
fn strided(
    kernels: &Kernels,
    [rows, depth]: [usize; 2],
    [input, panel]: [&[f32]; 2],
    output: &mut [f32],
    strides: [usize; 3],
    add: bool,
) {
    let input = Strided { data: input, stride: strides[0] };
    let panel = Strided { data: panel, stride: strides[1] };
    let output = StridedMut { data: output, stride: strides[2] };
    kernels.product(rows, depth, input, panel, output, add);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(mut forms: Forms<'_>) {
        (forms.specialised)(2);
        (forms.dynamic)(2);
    }

    /// Both forms give the same results on this processor; constructing them compares the two.
    #[test]
    fn every_loop_runs() {
        for format in [Format::F32, Format::Bf16] {
            run(row::<192, 96>(format, 64));
            if !pairs(format) {
                run(many::<192, 64>(format, 64));
            }
        }
        for format in [Format::Q8, Format::Q4] {
            run(integer_row::<12>(format, 64));
            run(integer_many::<12, 4>(format, 64));
        }
    }
}
