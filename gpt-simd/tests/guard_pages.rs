//! Runs every kernel of every instruction set of this processor on slices that end right before a
//! page without access, and on slices that begin right after one. A kernel that touches a byte
//! beyond a slice ends this process. The results in both places must be the same.
#![cfg(unix)]

mod guard;

use gpt_plan::{Activation, Dropout, Format, Norm, NormKind};
use gpt_simd::testing::{each, names};
use gpt_simd::{
    AdamStep, BLOCK, Bf16, Bf16Pair, CacheElement, F16, Integers, IntegersMut, Kernels, PANEL,
    PanelElement, Prefetch, Rounding, Running, Strided, StridedMut, WIDE_BLOCK,
};
use guard::{Edge, Memory};

/// Lengths that no vector length divides, and some that one does.
const LENGTHS: [usize; 15] = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 100];

/// The rows of a product: each height of a tile, and several tiles.
const ROWS: [usize; 15] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 17, 25];

type Case = fn(&Kernels, &Memory);

/// The kernels by their names in the table, with the calls that reach them.
const CASES: &[(&str, Case)] = &[
    ("product", |k, m| product::<f32>(k, m)),
    ("product_f16", |k, m| product::<F16>(k, m)),
    ("product_bf16", |k, m| product::<Bf16>(k, m)),
    ("gemv_f32", |k, m| gemv(k, m, Format::F32)),
    ("gemv_f16", |k, m| gemv(k, m, Format::F16)),
    ("gemv_bf16", |k, m| gemv(k, m, Format::Bf16)),
    ("unpack_f16", |k, m| unpack(k, m, Format::F16)),
    ("unpack_bf16", |k, m| unpack(k, m, Format::Bf16)),
    ("narrow_f16", |k, m| narrow::<F16>(k, m)),
    ("narrow_bf16", |k, m| narrow::<Bf16>(k, m)),
    ("layer_statistics", |k, m| statistics(k, m, NormKind::Layer)),
    ("rms_statistics", |k, m| statistics(k, m, NormKind::Rms)),
    ("normalise", normalise),
    ("softmax_block", softmax_block),
    ("softcap", |k, m| in_place(m, |row| k.softcap(row, 0.7, 2.0))),
    ("scale", |k, m| in_place(m, |row| k.scale(row, 0.3))),
    ("gelu", |k, m| in_place(m, |row| k.gelu(row))),
    ("gelu_tanh", |k, m| in_place(m, |row| k.gelu_tanh(row))),
    ("relu", |k, m| in_place(m, |row| k.relu(row))),
    ("silu", |k, m| in_place(m, |row| k.silu(row))),
    ("round", |k, m| in_place(m, |row| k.round(row))),
    ("gelu_slopes", |k, m| slopes(k, m, &Activation::Gelu)),
    ("gelu_tanh_slopes", |k, m| slopes(k, m, &Activation::GeluTanh)),
    ("relu_slopes", |k, m| slopes(k, m, &Activation::Relu)),
    ("silu_slopes", |k, m| slopes(k, m, &Activation::Silu)),
    ("norm_backward", norm_backward),
    ("norm_sums", norm_sums),
    ("row_sums", row_sums),
    ("transpose", transpose),
    ("adamw", adamw),
    ("squares", |k, m| sums(m, |row| k.squares(row))),
    ("read", |k, m| sums(m, |row| k.read(row))),
    ("probabilities", probabilities),
    ("drop_row", |k, m| {
        let dropout = Dropout::new(0.3, 7).unwrap();
        in_place(m, |row| k.drop_row(row, 5, 7, &dropout));
    }),
    // These work on registers only.
    ("calculate", |k, m| m.saw(&[k.calculate(Rounding::None, 3)])),
    ("integers.calculate", |k, m| m.saw(&[k.calculate(Rounding::Integer8, 3)])),
    ("pairs.calculate", |k, m| m.saw(&[k.calculate(Rounding::Bf16, 3)])),
    ("integers.quantise", |k, m| {
        for length in LENGTHS {
            quantised(k, m, 1, length);
        }
    }),
    ("integers.row", integer_row),
    ("integers.widen", integer_product),
    ("integers.product", integer_product),
    ("integers.arrange", |k, m| reorder(k, m, Kernels::arrange)),
    ("integers.restore", |k, m| reorder(k, m, Kernels::restore)),
    ("pairs.product", |k, m| product::<Bf16Pair>(k, m)),
    ("pairs.gemv", gemv_pairs),
    ("pairs.pair_columns", |k, m| pair(k, m, false)),
    ("pairs.pair_rows", |k, m| pair(k, m, true)),
];

#[test]
fn no_kernel_leaves_its_slices() {
    each(|kernels| {
        for name in names(kernels) {
            let case = CASES.iter().find(|case| case.0 == name);
            let (_, case) = case.unwrap_or_else(|| panic!("{name} has no case here"));
            let [first, last] = [Edge::First, Edge::Last].map(|edge| {
                let memory = Memory::new(edge);
                case(kernels, &memory);
                memory.results()
            });
            assert!(!first.is_empty(), "{name} did not run");
            assert!(first == last, "{name}: the results depend on where the slices are");
        }
    });
}

fn product<E: PanelElement>(kernels: &Kernels, memory: &Memory) {
    for rows in ROWS {
        for (depth, gap) in [(1, 0), (2, 3), (7, 0), (33, 5)] {
            let (stride, panel_stride, out_stride) = (depth + gap, PANEL + gap, PANEL + gap);
            let input = memory.random::<E::Input>((rows - 1) * stride + depth, 1);
            let panel = memory.random::<E>((depth - 1) * panel_stride + PANEL, 2);
            let next = memory.random::<u8>(1000, 3);
            let mut out = memory.random::<f32>((rows - 1) * out_stride + PANEL, 4);
            for add in [false, true] {
                kernels.product_prefetching(
                    rows,
                    depth,
                    Strided { data: &input, stride },
                    Strided { data: &panel, stride: panel_stride },
                    StridedMut { data: &mut out, stride: out_stride },
                    add,
                    Prefetch { ahead: 64 * gap, next: &next },
                );
                memory.saw(&out);
            }
            let stride = rows + gap;
            let input = memory.random::<E::Input>((depth - 1) * stride + rows, 5);
            kernels.product_of_columns(
                rows,
                depth,
                Strided { data: &input, stride },
                Strided { data: &panel, stride: panel_stride },
                StridedMut { data: &mut out, stride: out_stride },
                false,
            );
            memory.saw(&out);
        }
    }
}

/// The product of one row with a panel of floats. Sets that store the panel in pairs are skipped.
fn gemv(kernels: &Kernels, memory: &Memory, format: Format) {
    if kernels.group(format) != 1 {
        return memory.saw(&[0u8]);
    }
    for depth in LENGTHS {
        let input = memory.random::<f32>(depth, 1);
        let panel = memory.random::<u8>(depth * format.row_bytes(PANEL), 2);
        let mut out = memory.random::<f32>(PANEL, 3);
        kernels.gemv(format, &input, &panel, (&mut *out).try_into().unwrap());
        memory.saw(&out);
    }
}

fn unpack(kernels: &Kernels, memory: &Memory, format: Format) {
    if kernels.group(format) != 1 {
        return memory.saw(&[0u8]);
    }
    for depth in LENGTHS {
        let panel = memory.random::<u8>(depth * format.row_bytes(PANEL), 1);
        let mut out = memory.random::<f32>(depth * PANEL, 2);
        kernels.unpack(format, depth, &panel, &mut out);
        memory.saw(&out);
    }
}

fn narrow<E: CacheElement>(kernels: &Kernels, memory: &Memory) {
    for length in LENGTHS {
        let row = memory.random::<f32>(length, 1);
        let mut out = memory.random::<E>(length, 2);
        E::narrow(kernels, &row, &mut out);
        memory.saw(&out);
    }
}

fn statistics(kernels: &Kernels, memory: &Memory, kind: NormKind) {
    sums(memory, |row| {
        let [mean, scale] = kernels.statistics(Norm { kind, eps: 1e-5, ..Norm::default() }, row);
        mean + 3.0 * scale
    });
}

fn normalise(kernels: &Kernels, memory: &Memory) {
    for length in LENGTHS {
        for beta in [0, length] {
            let [x, gamma] = [1, 2].map(|seed| memory.random::<f32>(length, seed));
            let beta = memory.random::<f32>(beta, 3);
            let mut out = memory.random::<f32>(length, 4);
            kernels.normalise(&x, [0.1, 0.9], &gamma, &beta, &mut out);
            memory.saw(&out);
        }
    }
}

fn softmax_block(kernels: &Kernels, memory: &Memory) {
    for length in LENGTHS {
        for seen in [1, length.div_ceil(2), length] {
            let mut scores = memory.random::<f32>(length, 1);
            let mut state = Running { max: 0.5, sum: 1.0 };
            let factor = kernels.softmax_block(&mut scores, seen, 0.7, &mut state);
            memory.saw(&scores);
            memory.saw(&[factor, state.max, state.sum]);
        }
    }
}

fn probabilities(kernels: &Kernels, memory: &Memory) {
    for length in LENGTHS {
        for seen in [0, length.div_ceil(2), length] {
            let mut scores = memory.random::<f32>(length, 1);
            kernels.probabilities(&mut scores, seen, 0.7, 1.5);
            memory.saw(&scores);
        }
    }
}

fn in_place(memory: &Memory, kernel: impl Fn(&mut [f32])) {
    for length in LENGTHS {
        let mut row = memory.random::<f32>(length, 1);
        kernel(&mut row);
        memory.saw(&row);
    }
}

fn sums(memory: &Memory, kernel: impl Fn(&[f32]) -> f32) {
    for length in LENGTHS {
        let row = memory.random::<f32>(length, 1);
        memory.saw(&[kernel(&row)]);
    }
}

fn slopes(kernels: &Kernels, memory: &Memory, activation: &Activation) {
    for length in LENGTHS {
        let [mut values, mut slopes] = [1, 2].map(|seed| memory.random::<f32>(length, seed));
        kernels.with_slopes(activation, &mut values, &mut slopes);
        memory.saw(&values);
        memory.saw(&slopes);
    }
}

fn norm_backward(kernels: &Kernels, memory: &Memory) {
    for length in LENGTHS {
        for kind in [NormKind::Layer, NormKind::Rms] {
            let norm = Norm { kind, eps: 1e-5, ..Norm::default() };
            let [x, dy, gamma] = [1, 2, 3].map(|seed| memory.random::<f32>(length, seed));
            let mut out = memory.random::<f32>(length, 4);
            for add in [false, true] {
                kernels.norm_backward(norm, &x, &dy, &gamma, [0.1, 0.9], &mut out, add);
                memory.saw(&out);
            }
        }
    }
}

fn norm_sums(kernels: &Kernels, memory: &Memory) {
    for rows in [1, 2, 3, 8, 17] {
        let stride = PANEL + rows;
        let [x, dy] = [1, 2].map(|seed| memory.random::<f32>((rows - 1) * stride + PANEL, seed));
        let stats = memory.random::<f32>(2 * rows, 3);
        let [mut gamma, mut beta] = [4, 5].map(|seed| memory.random::<f32>(PANEL, seed));
        let sums = [&mut gamma, &mut beta].map(|sums| (&mut **sums).try_into().unwrap());
        let [for_gamma, for_beta] = sums;
        kernels.norm_sums(&x, &dy, stride, &stats, for_gamma, for_beta);
        memory.saw(&gamma);
        memory.saw(&beta);
    }
}

fn row_sums(kernels: &Kernels, memory: &Memory) {
    for rows in [1, 2, 3, 8, 17] {
        let stride = PANEL + rows;
        let x = memory.random::<f32>((rows - 1) * stride + PANEL, 1);
        let mut sums = memory.random::<f32>(PANEL, 2);
        kernels.row_sums(&x, rows, stride, (&mut *sums).try_into().unwrap());
        memory.saw(&sums);
    }
}

fn transpose(kernels: &Kernels, memory: &Memory) {
    for rows in [1, 7, 8, 9, 31, 32] {
        for columns in [8, 16, 24, 40] {
            let (stride, out_stride) = (columns + 3, PANEL + 1);
            let from = memory.random::<f32>((rows - 1) * stride + columns, 1);
            let mut out = memory.random::<f32>((columns - 1) * out_stride + PANEL, 2);
            kernels.transpose(&from, stride, [rows, columns], &mut out, out_stride);
            memory.saw(&out);
        }
    }
}

fn adamw(kernels: &Kernels, memory: &Memory) {
    let step = AdamStep {
        rate: 0.01,
        keep: 0.99,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        root: 1.2,
        shrink: 0.5,
    };
    for length in LENGTHS {
        let [mut p, g, mut m, mut v] = [1, 2, 3, 4].map(|seed| memory.random::<f32>(length, seed));
        v.iter_mut().for_each(|v| *v = v.abs());
        kernels.adamw(&mut p, &g, &mut m, &mut v, &step);
        [p, m, v].iter().for_each(|row| memory.saw(row));
    }
}

/// Rows of integers, with each array at the edge.
struct Rows {
    quants: guard::Guarded<u8>,
    scales: guard::Guarded<f32>,
    sums: guard::Guarded<f32>,
    starts: guard::Guarded<i32>,
    halves: guard::Guarded<i32>,
    blocks: usize,
}

impl Rows {
    fn all(&self) -> Integers<'_> {
        Integers {
            quants: &self.quants,
            scales: &self.scales,
            sums: &self.sums,
            starts: &self.starts,
            halves: &self.halves,
            blocks: self.blocks,
        }
    }
}

/// Rounds rows of `length` numbers.
fn quantised(kernels: &Kernels, memory: &Memory, rows: usize, length: usize) -> Rows {
    let blocks = length.div_ceil(BLOCK);
    let block_bytes = BLOCK * kernels.quant_bytes();
    let mut all = Rows {
        quants: memory.random(rows * blocks * block_bytes, 1),
        scales: memory.random(rows * blocks, 2),
        sums: memory.random(rows * blocks, 3),
        starts: memory.random(rows * blocks, 4),
        halves: memory.random(2 * rows * blocks, 5),
        blocks,
    };
    for row in 0..rows {
        let x = memory.random::<f32>(length, 6 + row as u64);
        let out = IntegersMut {
            quants: &mut all.quants[row * blocks * block_bytes..][..blocks * block_bytes],
            scales: &mut all.scales[row * blocks..][..blocks],
            sums: &mut all.sums[row * blocks..][..blocks],
            starts: &mut all.starts[row * blocks..][..blocks],
            halves: &mut all.halves[2 * row * blocks..][..2 * blocks],
        };
        kernels.quantise(&x, out);
    }
    memory.saw(&all.quants);
    memory.saw(&all.scales);
    memory.saw(&all.sums);
    memory.saw(&all.starts);
    memory.saw(&all.halves);
    all
}

fn quantised_formats() -> impl Iterator<Item = Format> {
    Format::ALL.into_iter().filter(|format| format.is_quantised())
}

/// A panel with `blocks` sub-blocks.
fn panel(memory: &Memory, format: Format, blocks: usize) -> guard::Guarded<u8> {
    memory.random(blocks.div_ceil(format.sub_blocks()) * format.packed_bytes() * PANEL, 9)
}

fn integer_row(kernels: &Kernels, memory: &Memory) {
    for format in quantised_formats() {
        for blocks in [1, 3, 8, 9] {
            let rows = quantised(kernels, memory, 1, blocks * BLOCK);
            let panel = panel(memory, format, blocks);
            let mut out = memory.random::<f32>(PANEL, 1);
            let output = (&mut *out).try_into().unwrap();
            kernels.integer_row(format, &rows.all(), &panel, output);
            memory.saw(&out);
        }
    }
}

fn integer_product(kernels: &Kernels, memory: &Memory) {
    for format in quantised_formats() {
        for rows in ROWS {
            // The rows may have more blocks than are multiplied.
            for (blocks, more) in [(1, 0), (3, 1), (9, 0)] {
                let input = quantised(kernels, memory, rows, (blocks + more) * BLOCK);
                let panel = panel(memory, format, blocks);
                let mut scratch = memory.random::<u8>(kernels.wide_bytes(blocks * WIDE_BLOCK), 1);
                let next = memory.random::<u8>(1000, 2);
                let mut out = memory.random::<f32>(rows * PANEL, 3);
                let wide = kernels.widen(format, blocks, &panel, &mut scratch);
                for add in [false, true] {
                    let shape = [rows, blocks];
                    let input = input.all();
                    kernels
                        .integer_product(format, shape, input, &panel, wide, &mut out, add, &next);
                    memory.saw(&out);
                }
            }
        }
    }
}

fn reorder(kernels: &Kernels, memory: &Memory, kernel: fn(&Kernels, Format, &mut [u8])) {
    for format in quantised_formats() {
        let mut quants = memory.random::<u8>(format.quant_bytes(), 1);
        kernel(kernels, format, &mut quants);
        memory.saw(&quants);
    }
}

fn gemv_pairs(kernels: &Kernels, memory: &Memory) {
    for depth in LENGTHS {
        let input = memory.random::<Bf16Pair>(depth, 1);
        let panel = memory.random::<Bf16Pair>(depth * PANEL, 2);
        let mut out = memory.random::<f32>(PANEL, 3);
        kernels.gemv_pairs(&input, &panel, (&mut *out).try_into().unwrap());
        memory.saw(&out);
    }
}

fn pair(kernels: &Kernels, memory: &Memory, rows_together: bool) {
    for width in LENGTHS {
        for rows in [1, 2, 3, 8] {
            let stride = width + 3;
            let from = memory.random::<f32>((rows - 1) * stride + width, 1);
            let from = Strided { data: &from, stride };
            if rows_together {
                let mut out = memory.random::<Bf16Pair>(rows.div_ceil(2) * width, 2);
                kernels.pair_rows(from, [rows, width], &mut out);
                memory.saw(&out);
            } else {
                let mut out = memory.random::<Bf16Pair>(rows * width.div_ceil(2), 2);
                kernels.pair_columns(from, [rows, width], &mut out);
                memory.saw(&out);
            }
        }
    }
}
