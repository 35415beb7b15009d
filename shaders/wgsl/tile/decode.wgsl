// One row of inputs: a matrix times a vector, as each new token needs it. The matrix is read once, so nothing is gained by a larger
// tile; the invocations of a workgroup rather share each dot product, SLICES to a feature, so that more reads are under way.

const LANES: u32 = 256u;
const PANELS: u32 = 1u;
// Invocations that share a dot product.
const SLICES: u32 = 8u;
// Blocks of the matrix's columns, and how many of them one filling of the tile serves.
const BLOCKS: u32 = 24u;
const BLOCK_QUADS: u32 = 8u;
const CHUNK_BLOCKS: u32 = 24u;

alias Quad = vec4<f32>;
struct Block { at: u32 }

fn load(panel: u32, block: u32, lane: u32) -> Block {
    return Block(panel + block + lane);
}

fn quad(block: Block, j: u32) -> Quad {
    return Quad(f32(block.at + j));
}

fn input(r: u32, row: u32, column: u32) -> f32 {
    return f32(r + row + column);
}
// ---- end of parameters ----

// Four columns each.
var<workgroup> tile: array<vec4<f32>, CHUNK_BLOCKS * BLOCK_QUADS>;
var<workgroup> sums: array<f32, LANES>;
var<workgroup> some_sums: array<f32, 16>;

// The sum of all invocations' values, for all of them.
fn row_sum(lane: u32, value: f32) -> f32 {
    sums[lane] = value;
    workgroupBarrier();
    if lane < 16u {
        var sum = 0.0;
        for (var i = 0u; i < LANES / 16u; i++) {
            sum += sums[i * 16u + lane];
        }
        some_sums[lane] = sum;
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < 16u; i++) {
        sum += some_sums[i];
    }
    return sum;
}

fn multiply(first: u32, panel: u32, lane: u32) {
    let slice = lane / (32u * PANELS);
    var sum = 0.0;
    for (var start = 0u; start < BLOCKS; start += CHUNK_BLOCKS) {
        workgroupBarrier();
        for (var i = lane; i < CHUNK_BLOCKS * BLOCK_QUADS; i += LANES) {
            let column = 4u * (start * BLOCK_QUADS + i);
            tile[i] = vec4<f32>(
                input(0u, first, column),
                input(0u, first, column + 1u),
                input(0u, first, column + 2u),
                input(0u, first, column + 3u),
            );
        }
        workgroupBarrier();
        let end = min(CHUNK_BLOCKS, BLOCKS - start);
        for (var b = slice; b < end; b += SLICES) {
            let block = load(panel, start + b, lane % 32u);
            for (var j = 0u; j < BLOCK_QUADS; j++) {
                sum += dot(quad(block, j), tile[b * BLOCK_QUADS + j]);
            }
        }
    }
    sums[lane] = sum;
    workgroupBarrier();
}

// Output `local` of the workgroup.
fn total(r: u32, local: u32) -> f32 {
    var sum = 0.0;
    for (var slice = 0u; slice < SLICES; slice++) {
        sum += sums[slice * 32u * PANELS + local];
    }
    return sum;
}
