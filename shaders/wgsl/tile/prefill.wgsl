// Sixteen rows of inputs: a matrix times a matrix. Each weight is read once for sixteen tokens; an invocation keeps their sixteen
// sums in four vectors. In the tile, four neighbouring rows stand in one vector, so that a weight meets them all at once.

const LANES: u32 = 128u;
// Blocks of the matrix's columns, and how many of them one filling of the tile serves.
const BLOCKS: u32 = 24u;
const BLOCK_QUADS: u32 = 8u;
const CHUNK_BLOCKS: u32 = 4u;
// Columns of such a filling; vectors in the tile, which holds the sums afterwards.
const CHUNK: u32 = 128u;
const TILE: u32 = 512u;

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

// [column][row / 4] while it holds inputs, [row / 4][lane] while it holds sums.
var<workgroup> tile: array<vec4<f32>, TILE>;
var<workgroup> some_sums: array<f32, LANES>;

// The sum over the invocations that share a row, for all of them.
fn row_sum(lane: u32, value: f32) -> f32 {
    some_sums[lane] = value;
    workgroupBarrier();
    let start = lane / (LANES / 16u) * (LANES / 16u);
    var sum = 0.0;
    for (var i = 0u; i < LANES / 16u; i++) {
        sum += some_sums[start + i];
    }
    workgroupBarrier();
    return sum;
}

fn multiply(first: u32, panel: u32, lane: u32) {
    var sum_0 = vec4<f32>();
    var sum_1 = vec4<f32>();
    var sum_2 = vec4<f32>();
    var sum_3 = vec4<f32>();
    for (var start = 0u; start < BLOCKS; start += CHUNK_BLOCKS) {
        workgroupBarrier();
        for (var i = lane; i < 4u * CHUNK; i += LANES) {
            let column = i % CHUNK;
            let r = i / CHUNK * 4u;
            let source = start * BLOCK_QUADS * 4u + column;
            tile[4u * column + r / 4u] = vec4<f32>(
                input(r, first + r, source),
                input(r + 1u, first + r + 1u, source),
                input(r + 2u, first + r + 2u, source),
                input(r + 3u, first + r + 3u, source),
            );
        }
        workgroupBarrier();
        let end = min(CHUNK_BLOCKS, BLOCKS - start);
        for (var b = 0u; b < end; b++) {
            let block = load(panel, start + b, lane % 32u);
            for (var j = 0u; j < BLOCK_QUADS; j++) {
                let weights = quad(block, j);
                let at = (b * BLOCK_QUADS + j) * 16u;
                sum_0 = fma(vec4<f32>(weights.x), tile[at], sum_0);
                sum_1 = fma(vec4<f32>(weights.x), tile[at + 1u], sum_1);
                sum_2 = fma(vec4<f32>(weights.x), tile[at + 2u], sum_2);
                sum_3 = fma(vec4<f32>(weights.x), tile[at + 3u], sum_3);
                sum_0 = fma(vec4<f32>(weights.y), tile[at + 4u], sum_0);
                sum_1 = fma(vec4<f32>(weights.y), tile[at + 5u], sum_1);
                sum_2 = fma(vec4<f32>(weights.y), tile[at + 6u], sum_2);
                sum_3 = fma(vec4<f32>(weights.y), tile[at + 7u], sum_3);
                sum_0 = fma(vec4<f32>(weights.z), tile[at + 8u], sum_0);
                sum_1 = fma(vec4<f32>(weights.z), tile[at + 9u], sum_1);
                sum_2 = fma(vec4<f32>(weights.z), tile[at + 10u], sum_2);
                sum_3 = fma(vec4<f32>(weights.z), tile[at + 11u], sum_3);
                sum_0 = fma(vec4<f32>(weights.w), tile[at + 12u], sum_0);
                sum_1 = fma(vec4<f32>(weights.w), tile[at + 13u], sum_1);
                sum_2 = fma(vec4<f32>(weights.w), tile[at + 14u], sum_2);
                sum_3 = fma(vec4<f32>(weights.w), tile[at + 15u], sum_3);
            }
        }
    }
    workgroupBarrier();
    tile[lane] = sum_0;
    tile[LANES + lane] = sum_1;
    tile[2u * LANES + lane] = sum_2;
    tile[3u * LANES + lane] = sum_3;
    workgroupBarrier();
}

// Output `local` of the workgroup, for row `r` of the tile.
fn total(r: u32, local: u32) -> f32 {
    return tile[r / 4u * LANES + local][r % 4u];
}
