//! Projections, and the look-up in the embedding, which reads a matrix as they do.

use gpt_plan::{
    Activation, Format, Grid, Kernel, MatrixLayout, Norm, NormRef, Op, Phase, STRIP, TensorId,
    vector_offset,
};
use gpt_shaders::{self as files, Source};

use super::Context;
use super::bindings::bindings;
use super::header::Header;
use crate::formula;

/// Invocations of a workgroup that multiplies a vector; of one that looks up.
const DECODE_LANES: u32 = 256;
const EMBED_LANES: u32 = 64;

/// Invocations to a strip, and rows that go together, in a prompt; `tile/prefill.wgsl` is written for as many.
const PREFILL_LANES: u32 = 8;
const PREFILL_ROWS: u32 = 16;

/// Columns of inputs that a prompt's tile holds.
const PREFILL_CHUNK: u32 = 128;

/// Workgroup memory, in f32, that a decoding tile and the sums it leaves may take; the norm has the rest of what an adapter has at
/// least ([`super::validate`] makes sure).
const DECODE_MEMORY: u32 = (16_384 - 512) / 4;

/// Workgroups that a decoding step should have before one takes more than one strip.
const ENOUGH_GROUPS: u32 = 32;

/// The kernel of a projection.
pub fn kernel(context: &Context<'_>, op: &Op) -> Option<Kernel> {
    let spec = context.spec;
    let (norm, weight, bias) = match *op {
        Op::Qkv { norm, weight, bias }
        | Op::AttentionOut { norm, weight, bias }
        | Op::MlpUp { norm, weight, bias }
        | Op::MlpDown { norm, weight, bias } => (norm, weight, bias),
        Op::Head { norm, weight } => (norm, weight, None),
        Op::Embed { .. } | Op::Attention => unreachable!("no projection"),
    };
    let gated = matches!(op, Op::MlpUp { .. }) && spec.mlp.gated;
    let matrix = &context.tensors[usize::from(weight.0)];
    let halves = if gated { 2 } else { 1 };
    let outputs = matrix.rows / halves;
    // The halves of a gated MLP are padded one by one, as their strips alternate.
    let rows = u64::from(outputs.next_multiple_of(STRIP) * halves);
    let layout = MatrixLayout::new(context.format, rows, u64::from(matrix.columns))?;
    if layout.parts > op.max_parts() {
        return None;
    }
    let tile = Tile::new(context.phase, rows as u32 / STRIP, halves);

    let mut header = Header::new(&context.title(&format!(
        "{} features from {}, weights in {}",
        matrix.rows,
        matrix.columns,
        context.format.name()
    )));
    header.size("EMBED", spec.embed, "width of the residual stream");
    header.size("COLUMNS", matrix.columns, "columns of the matrix");
    header.size("OUTPUTS", outputs, "outputs of the step");
    tile.write(&mut header, &layout, rows as u32 / STRIP, halves);
    let strips = Kernel::strips_file(tile.strips).expect("tiles have powers of two");
    let mut parts = vec![&files::ENTRY_PLAIN, &files::RUN, strips];
    if norm.is_some() || bias.is_some() {
        parts.push(&files::VECTORS);
    }
    matrix_parts(&mut header, &mut parts, context.format, &layout);
    parts.push(match op {
        Op::AttentionOut { .. } | Op::MlpDown { .. } => &files::INPUT_ACTIVATIONS,
        _ => &files::INPUT_STREAM,
    });
    norm_parts(context, &mut header, &mut parts, norm);
    parts.push(match bias {
        Some(bias) => {
            let at = vector_offset(context.tensors, bias);
            header.size("BIAS", at, "where the bias begins");
            &files::BIAS_VECTOR
        }
        None => &files::BIAS_NONE,
    });
    match context.phase {
        Phase::Decode => {
            if norm.is_some() {
                parts.push(&files::SUM_MEMORY);
            }
            parts.extend([&files::EIGHT_MEMORY, &files::TILE_DECODE]);
        }
        Phase::Prefill => parts.extend([
            &files::TILE_PREFILL,
            &files::TILE_PREFILL_SUMS,
            &files::HOLD_PLAIN,
            &files::TILE_PREFILL_SINGLE,
        ]),
    }
    finish_parts(context, &mut header, &mut parts, op);
    parts.push(&files::LINEAR);
    Some(Kernel {
        name: format!(
            "{}_{}_{}",
            context.name,
            context.phase_name(),
            context.format.name()
        )
        .into(),
        header: header.finish().into(),
        grid: Grid::Rows,
        bindings: bindings(&parts),
        parts: parts.into(),
        workgroup: tile.lanes,
        tile_rows: tile.rows,
        groups: (rows as u32 / STRIP).div_ceil(tile.strips),
        strips: rows as u32 / STRIP,
    })
}

/// The kernel that looks tokens up. Both phases share it.
pub fn embed(context: &Context<'_>, op: &Op, table: TensorId, positions: bool) -> Option<Kernel> {
    let spec = context.spec;
    let table = &context.tensors[usize::from(table.0)];
    let layout = MatrixLayout::new(
        context.format,
        u64::from(table.rows),
        u64::from(table.columns),
    )?;
    if layout.parts > op.max_parts() {
        return None;
    }
    let quads = spec.embed.div_ceil(4);
    let mut header = Header::new(&format!(
        "{}: {} of {} tokens, weights in {}.",
        context.model,
        context.name,
        spec.vocab,
        context.format.name()
    ));
    header.size("EMBED", spec.embed, "width of the residual stream");
    header.size("QUADS", quads, "groups of four columns to a row");
    header.size("LANES", EMBED_LANES, "invocations of a workgroup");
    let mut parts = vec![&files::RUN];
    matrix_parts(&mut header, &mut parts, context.format, &layout);
    parts.push(if positions {
        &files::POSITIONS_TABLE
    } else {
        &files::POSITIONS_NONE
    });
    parts.push(&files::EMBED);
    Some(Kernel {
        name: format!("{}_{}", context.name, context.format.name()).into(),
        header: header.finish().into(),
        grid: Grid::Rows,
        bindings: bindings(&parts),
        parts: parts.into(),
        workgroup: EMBED_LANES,
        tile_rows: 1,
        groups: quads.div_ceil(EMBED_LANES),
        strips: 0,
    })
}

/// How a workgroup shares its work. What follows from the number of its strips is said in WGSL, so that a variant may have another.
struct Tile {
    phase: Phase,
    lanes: u32,
    rows: u32,
    strips: u32,
}

impl Tile {
    /// For a matrix of `strips` strips, those of `halves` halves in turns.
    fn new(phase: Phase, strips: u32, halves: u32) -> Tile {
        match phase {
            Phase::Prefill => {
                // Where eight strips would leave a good part of the last workgroup without work, four are taken.
                let made = |n: u32| strips.next_multiple_of(n);
                let small = halves == 1 && 10 * made(4) <= 9 * made(8);
                let own = if small { 4 } else { 8 };
                Tile {
                    phase,
                    lanes: PREFILL_LANES * own,
                    rows: PREFILL_ROWS,
                    strips: own,
                }
            }
            Phase::Decode => {
                let enough = |n: &u32| strips / n >= ENOUGH_GROUPS;
                Tile {
                    phase,
                    lanes: DECODE_LANES,
                    rows: 1,
                    strips: [4, 2].into_iter().find(enough).unwrap_or(halves),
                }
            }
        }
    }

    fn write(&self, header: &mut Header, layout: &MatrixLayout, strips: u32, halves: u32) {
        let mut size = |name, value, doc| header.size(name, value, doc);
        size("TILE_ROWS", self.rows, "rows that go through it together");
        size(
            "LAST_STRIP",
            strips - 1,
            "the matrix's last strip of 32 rows",
        );
        size(
            "HALVES",
            halves,
            "halves of the matrix, whose strips alternate",
        );
        size("BLOCKS", layout.blocks, "blocks of a row of the matrix");
        match self.phase {
            Phase::Decode => {
                size("LANES", self.lanes, "invocations of a workgroup");
                size(
                    "SLICES",
                    self.lanes / STRIP,
                    "invocations that share a dot product",
                );
                size(
                    "MEMORY",
                    DECODE_MEMORY,
                    "f32s that inputs and sums may take of its memory",
                );
            }
            Phase::Prefill => {
                let chunk = PREFILL_CHUNK / (layout.block_quads * 4);
                size(
                    "CHUNK_BLOCKS",
                    chunk.min(layout.blocks),
                    "of these, how many one filling of the tile serves",
                );
            }
        }
    }
}

fn matrix_parts(
    header: &mut Header,
    parts: &mut Vec<&'static Source>,
    format: Format,
    layout: &MatrixLayout,
) {
    let (element, weight) = match format {
        Format::F32 => (&files::ELEMENT_QUADS, &files::WEIGHT_F32),
        Format::F16 => (&files::ELEMENT_PAIRS, &files::WEIGHT_F16),
        Format::Bf16 => (&files::ELEMENT_PAIRS, &files::WEIGHT_BF16),
        Format::Q8 => (&files::ELEMENT_WORDS, &files::WEIGHT_Q8),
        Format::Q4 => (&files::ELEMENT_WORDS, &files::WEIGHT_Q4),
    };
    parts.push(element);
    header.size("PANEL_LENGTH", layout.panel_length, "elements of a panel");
    header.size(
        "BLOCK_QUADS",
        layout.block_quads,
        "groups of four columns in a block",
    );
    if layout.parts > 1 {
        header.size(
            "PART_PANELS",
            layout.part_panels,
            "panels of every part but the last",
        );
    }
    parts.push(match layout.parts {
        1 => &files::MATRIX_PARTS_1,
        2 => &files::MATRIX_PARTS_2,
        3 => &files::MATRIX_PARTS_3,
        4 => &files::MATRIX_PARTS_4,
        5 => &files::MATRIX_PARTS_5,
        n => unreachable!("no op has {n} parts"),
    });
    if format.block() == 1 {
        parts.push(&files::WEIGHT_PLAIN);
    }
    parts.push(weight);
}

fn norm_parts(
    context: &Context<'_>,
    header: &mut Header,
    parts: &mut Vec<&'static Source>,
    norm: Option<NormRef>,
) {
    let Some(norm) = norm else {
        parts.push(&files::NORM_NONE);
        return;
    };
    let (file, eps) = match context.spec.norm {
        Norm::LayerNorm { eps } => (&files::NORM_LAYER, eps),
        Norm::RmsNorm { eps } => (&files::NORM_RMS, eps),
    };
    header.number("EPSILON", eps, "added to the variance");
    let at = |id| vector_offset(context.tensors, id);
    header.size("GAMMA", at(norm.gamma), "where the norm's scale begins");
    parts.push(file);
    parts.push(match norm.beta {
        Some(beta) => {
            header.size("BETA", at(beta), "where its shift begins");
            &files::NORM_SCALE_SHIFT
        }
        None => &files::NORM_SCALE,
    });
}

fn finish_parts(
    context: &Context<'_>,
    header: &mut Header,
    parts: &mut Vec<&'static Source>,
    op: &Op,
) {
    let spec = context.spec;
    match op {
        Op::Qkv { .. } => {
            header.size("HEAD_DIM", spec.head_dim, "width of a head");
            header.size("Q_WIDTH", spec.q_width(), "width of all query heads");
            header.size("KV_WIDTH", spec.kv_width(), "width of all key heads");
            parts.push(if spec.rotary() {
                &files::ROTARY_PAIRS
            } else {
                &files::ROTARY_NONE
            });
            parts.push(&files::FINISH_QKV);
        }
        Op::MlpUp { .. } => {
            match &spec.mlp.activation {
                Activation::Gelu => parts.push(&files::ACTIVATION_GELU),
                Activation::GeluTanh => parts.push(&files::ACTIVATION_GELU_TANH),
                Activation::Relu => parts.push(&files::ACTIVATION_RELU),
                Activation::Silu => parts.push(&files::ACTIVATION_SILU),
                Activation::Custom { value, .. } => {
                    let text = formula::wgsl("activation", value);
                    header.function("activation", "The closure of the spec.", &text);
                }
            }
            parts.push(if spec.mlp.gated {
                &files::FINISH_GATED
            } else {
                &files::FINISH_ACTIVATION
            });
        }
        Op::AttentionOut { .. } | Op::MlpDown { .. } => parts.push(&files::FINISH_RESIDUAL),
        _ => parts.push(&files::FINISH_LOGITS),
    }
}
