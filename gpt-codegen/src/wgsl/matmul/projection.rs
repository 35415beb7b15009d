//! Projections of inference: a norm as prologue, a packed matrix, an epilogue.

use gpt_plan::{
    BufferId, Epilogue, Kernel, MatrixLayout, Op, Phase, Projection, STRIP, vector_offset,
};
use gpt_shaders::{files, tile_n_file};

use super::{rope, weights};
use crate::wgsl::header::{Files, Header};
use crate::wgsl::{Context, activation, loss, norm};

/// Invocations of a decoding workgroup.
const DECODE_WORKGROUP: u32 = 256;

/// Invocations for each strip of a prefill workgroup. Each computes four rows of the matrix. The
/// files `matmul/tile/prefill*` have this number and [`PREFILL_ROWS`] built in.
const PREFILL_STRIP_INVOCATIONS: u32 = 8;

/// Rows of inputs of a prefill tile.
const PREFILL_ROWS: u32 = 16;

/// Columns of the inputs that a prefill tile stages at a time.
const PREFILL_COLUMNS: u32 = 128;

/// Workgroup memory for the inputs and sums of a decoding tile, in f32s: the 16,384 bytes that
/// every adapter has, less 512 bytes for the norm. Validation checks the total.
const DECODE_SCRATCH: u32 = (16_384 - 512) / 4;

/// A decoding workgroup takes more strips than it must (one, or two of a gated MLP) only if the
/// step then still has this many workgroups.
const ENOUGH_GROUPS: u32 = 32;

/// The kernel of a projection.
pub fn projection(context: &Context<'_>, op: &Op, projection: &Projection) -> Option<Kernel> {
    let spec = context.spec;
    let Projection { weight, bias, .. } = *projection;
    let norm = match projection.epilogue {
        Epilogue::Residual { norm, .. } => norm,
        _ => projection.norm,
    };
    let gated = op.is_gated();
    let matrix = &context.tensors[usize::from(weight.0)];
    let halves = if gated { 2 } else { 1 };
    let outputs = matrix.rows / halves;
    // The halves of a gated MLP are padded separately, since their strips alternate.
    let rows = u64::from(outputs.next_multiple_of(STRIP) * halves);
    let layout = MatrixLayout::new(context.format, rows, u64::from(matrix.columns))?;
    if layout.parts > op.max_parts() {
        return None;
    }
    let strips = rows as u32 / STRIP;
    let tile = Tile::new(context.phase, strips, halves);

    let mut header = Header::new(&context.title(&format!(
        "{} features from {}, weights in {}",
        matrix.rows,
        matrix.columns,
        context.format.name()
    )));
    header.size("EMBED", spec.embed, "width of the residual stream");
    header.size("COLUMNS", matrix.columns, "columns of the matrix");
    header.size("OUTPUTS", outputs, "outputs of the step");
    tile.write(&mut header, &layout, strips, halves);
    let tile_n = tile_n_file(tile.strips).expect("tiles are powers of two");
    let strips_file = files::MATMUL_STRIPS_ALL;
    let mut files = vec![files::SHARED_ENTRY_PLAIN, files::SHARED_PASS, tile_n, strips_file];
    let has_vectors = norm.is_some_and(|norm| norm.gamma.is_some());
    if has_vectors || bias.is_some() {
        files.push(files::SHARED_VECTORS);
    }
    weights(context.format, &layout, &mut header, &mut files);
    files.push(match projection.input.buffer {
        BufferId::X => files::MATMUL_PROLOGUE_STREAM,
        BufferId::HeadHidden => files::MATMUL_PROLOGUE_HIDDEN,
        _ => files::MATMUL_PROLOGUE_ACTIVATIONS,
    });
    norm::prologue(context, norm, &mut header, &mut files);
    files.push(match bias {
        Some(bias) => {
            let at = vector_offset(context.tensors, bias);
            header.size("BIAS", at, "offset of the bias");
            files::MATMUL_BIAS_PACKED
        }
        None => files::MATMUL_BIAS_NONE,
    });
    match context.phase {
        Phase::Decode => {
            if norm.is_some() {
                files.push(files::SHARED_SUM_MEMORY);
            }
            files.extend([
                files::SHARED_READ_MEMORY,
                files::MATMUL_TILE_DECODE_SUMS,
                files::MATMUL_TILE_DECODE,
            ]);
        }
        Phase::Prefill => files.extend([
            files::MATMUL_SUMS,
            files::MATMUL_TILE_PREFILL,
            files::MATMUL_TILE_PREFILL_SUMS,
            files::MATMUL_ROW_BROADCAST_MEMORY,
            files::MATMUL_TILE_PREFILL_BLOCK,
            files::MATMUL_TILE_PREFILL_SINGLE,
        ]),
    }
    epilogue(context, &projection.epilogue, &mut header, &mut files);
    files.push(files::MATMUL_PROJECTION);
    let (phase, format) = (context.phase_name(), context.format.name());
    Some(Kernel {
        workgroup: tile.workgroup,
        tile_rows: tile.rows,
        groups: strips.div_ceil(tile.strips),
        strips,
        ..header.kernel(format!("{}_{phase}_{format}", context.name), files)
    })
}

/// The work of a workgroup. The WGSL derives from TILE_N what depends on the number of strips, so
/// that a variant can have another number.
struct Tile {
    phase: Phase,
    workgroup: u32,
    rows: u32,
    strips: u32,
}

impl Tile {
    /// For a matrix of `strips` strips. `halves` is 2 for the matrix of a gated MLP, whose halves
    /// have alternating strips, and otherwise 1.
    fn new(phase: Phase, strips: u32, halves: u32) -> Tile {
        match phase {
            Phase::Prefill => {
                // Four strips where eight would leave much of the last workgroup idle.
                let padded = |n: u32| strips.next_multiple_of(n);
                let small = halves == 1 && 10 * padded(4) <= 9 * padded(8);
                let own = if small { 4 } else { 8 };
                Tile {
                    phase,
                    workgroup: PREFILL_STRIP_INVOCATIONS * own,
                    rows: PREFILL_ROWS,
                    strips: own,
                }
            }
            Phase::Decode => {
                let enough = |n: &u32| strips / n >= ENOUGH_GROUPS;
                Tile {
                    phase,
                    workgroup: DECODE_WORKGROUP,
                    rows: 1,
                    strips: [4, 2].into_iter().find(enough).unwrap_or(halves),
                }
            }
        }
    }

    fn write(&self, header: &mut Header, layout: &MatrixLayout, strips: u32, halves: u32) {
        header.format_size("BLOCKS", layout.blocks, "blocks of a row of the matrix");
        let mut size = |name, value, doc| header.size(name, value, doc);
        size("TILE_ROWS", self.rows, "rows of a tile");
        size("STRIPS", strips, "strips of 32 rows");
        let doc = "halves of the matrix, whose strips alternate";
        size("HALVES", halves, doc);
        match self.phase {
            Phase::Decode => {
                let doc = "invocations of a workgroup";
                size("WORKGROUP_SIZE", self.workgroup, doc);
                let slices = self.workgroup / STRIP;
                size("SLICES", slices, "invocations that share a dot product");
                let doc = "f32s of workgroup memory for inputs and sums";
                size("SCRATCH_FLOATS", DECODE_SCRATCH, doc);
            }
            Phase::Prefill => {
                let blocks = PREFILL_COLUMNS / (layout.block_quads * 4);
                let blocks = blocks.min(layout.blocks);
                size("STAGED_BLOCKS", blocks, "blocks that are staged at a time");
            }
        }
    }
}

fn epilogue(context: &Context<'_>, epilogue: &Epilogue, header: &mut Header, files: &mut Files) {
    let spec = context.spec;
    let file = match *epilogue {
        Epilogue::Store { ref map, .. } => {
            loss::logit_map(map.as_ref(), header, files);
            files::MATMUL_EPILOGUE_PRODUCT
        }
        Epilogue::Heads { rotary, .. } => {
            header.size("HEAD_DIM", spec.head_dim, "width of a head");
            header.size("Q_WIDTH", spec.q_width(), "width of all query heads");
            header.size("KV_WIDTH", spec.kv_width(), "width of all key heads");
            rope(spec, rotary, header, files);
            files::MATMUL_EPILOGUE_QKV
        }
        Epilogue::Activation { gated, .. } => {
            activation::add(&spec.mlp.activation, false, header, files);
            if gated { files::MATMUL_EPILOGUE_GATED } else { files::MATMUL_EPILOGUE_ACTIVATION }
        }
        Epilogue::Residual { scale, .. } => {
            header.number("BRANCH_SCALE", scale, "factor of the branch");
            files::MATMUL_EPILOGUE_RESIDUAL
        }
    };
    files.push(file);
}
