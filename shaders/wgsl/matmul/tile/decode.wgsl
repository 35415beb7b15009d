// One row of inputs: a matrix times a vector, as each new token needs it. The matrix is read once, so nothing is gained by more rows;
// the invocations of a workgroup rather share each dot product, SLICES to a feature, so that more reads are under way, and make STRIPS
// features each, so that an input that was read serves as many.

// Those that share a norm; outputs, which come in one turn; and blocks of a filling of the tile.
const ROW_INVOCATIONS: u32 = WORKGROUP_SIZE;
const ITERATIONS: u32 = 1u;
const FEATURES: u32 = TILE_N * 32u / HALVES;
const CHUNK_BLOCKS: u32 = min((SCRATCH_FLOATS - TILE_N * WORKGROUP_SIZE - 32u) / (BLOCK_QUADS * 4u), BLOCKS);

const SLICE_BLOCKS: u32 = (CHUNK_BLOCKS + SLICES - 1u) / SLICES;

alias Sums = array<f32, TILE_N>;

// Four columns each; and room for what is read with the last of them.
alias ScratchValue = vec4<f32>;
const SCRATCH_SIZE: u32 = CHUNK_BLOCKS * BLOCK_QUADS + 8u;

var<workgroup> scratch: array<ScratchValue, SCRATCH_SIZE>;
// [feature / 32][slice][feature % 32].
var<workgroup> shared_sums: array<f32, TILE_N * WORKGROUP_SIZE>;

fn input_at(first: u32, column: u32) -> f32 {
    return input(0u, first, column, affine(column));
}

// Eight neighbours have the rows of a panel, and the next eight the blocks that follow theirs: so a workgroup reads panels from beginning to end.
fn slice_of(invocation: u32) -> u32 {
    return invocation / 8u % SLICES;
}

// Which row of a strip.
fn row_of(invocation: u32) -> u32 {
    return invocation / (8u * SLICES) * 8u + invocation % 8u;
}

fn multiply(first: u32, strip: u32, invocation: u32) -> Sums {
    let slice = slice_of(invocation);
    let own = row_of(invocation);
    var sums = Sums();
    for (var start = 0u; start < BLOCKS; start += CHUNK_BLOCKS) {
        workgroupBarrier();
        for (var i = invocation; i < CHUNK_BLOCKS * BLOCK_QUADS; i += WORKGROUP_SIZE) {
            let column = 4u * (start * BLOCK_QUADS + i);
            scratch[i] = ScratchValue(
                input_at(first, column),
                input_at(first, column + 1u),
                input_at(first, column + 2u),
                input_at(first, column + 3u),
            );
        }
        workgroupBarrier();
        let end = min(CHUNK_BLOCKS, BLOCKS - start);
        for (var b = slice * SLICE_BLOCKS; b < min(end, (slice + 1u) * SLICE_BLOCKS); b++) {
            // A strip that does not exist is the last one once more, and its sums are dropped.
            var blocks: array<Block, TILE_N>;
            for (var i = 0u; i < TILE_N; i++) {
                blocks[i] = load(32u * min(strip + i, LAST_STRIP) + own, start + b);
            }
            let columns = shared_read(b * BLOCK_QUADS);
            for (var step = 0u; step < BLOCK_QUADS; step++) {
                // Slices begin at different columns, whose inputs lie in different banks of memory.
                let j = (step + slice) % BLOCK_QUADS;
                let inputs = shared_value(columns, j);
                for (var i = 0u; i < TILE_N; i++) {
                    sums[i] += dot(quad(blocks[i], j), inputs);
                }
            }
        }
    }
    return sums;
}

// Puts all features where `total` finds them; there is one turn.
fn store_sums(sums: Sums, iteration: u32, invocation: u32) {
    for (var i = 0u; i < TILE_N; i++) {
        shared_sums[i * WORKGROUP_SIZE + slice_of(invocation) * 32u + row_of(invocation)] = sums[i];
    }
    workgroupBarrier();
}

// Feature `local` of the workgroup.
fn output_sum(r: u32, local: u32) -> f32 {
    var sum = 0.0;
    for (var slice = 0u; slice < SLICES; slice++) {
        sum += shared_sums[local / 32u * WORKGROUP_SIZE + slice * 32u + local % 32u];
    }
    return sum;
}
