// Sixteen rows of inputs: a matrix times a matrix. Reads are what costs, so an invocation keeps 64 sums, sixteen rows of four features:
// of each column it reads four weights and sixteen inputs, and multiplies each with each. Sixteen rows are a 4 x 4 matrix here, whatever
// they mean: WGSL multiplies such a matrix by a number and adds it to another.

const LANES: u32 = 64u;
// The matrix's last strip of 32 rows.
const LAST_STRIP: u32 = 71u;
// Blocks of its columns, and how many of them one filling of the tile serves.
const BLOCKS: u32 = 24u;
const BLOCK_QUADS: u32 = 8u;
const CHUNK_BLOCKS: u32 = 4u;
// Columns of such a filling; matrices in the tile, which holds sums afterwards.
const CHUNK: u32 = 128u;
const TILE: u32 = 128u;

alias Quad = vec4<f32>;
struct Block { at: u32 }

fn load(row: u32, block: u32) -> Block {
    return Block(row + block);
}

fn quad(block: Block, j: u32) -> Quad {
    return Quad(f32(block.at + j));
}

fn affine(column: u32) -> vec2<f32> {
    return vec2<f32>(1.0, 0.0);
}

fn input(r: u32, row: u32, column: u32, by: vec2<f32>) -> f32 {
    return f32(r + row + column) * by.x + by.y;
}
// ---- end of parameters ----

alias Rows = mat4x4<f32>;

// What an invocation makes: sixteen rows of four features.
struct Sums {
    a: Rows,
    b: Rows,
    c: Rows,
    d: Rows,
}

// By column while it holds inputs, by invocation while it holds sums.
var<workgroup> tile: array<Rows, TILE>;
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

// Four rows of a column, from row `r` of the tile on.
fn inputs(r: u32, first: u32, column: u32, by: vec2<f32>) -> vec4<f32> {
    return vec4<f32>(
        input(r, first + r, column, by),
        input(r + 1u, first + r + 1u, column, by),
        input(r + 2u, first + r + 2u, column, by),
        input(r + 3u, first + r + 3u, column, by),
    );
}

fn multiply(first: u32, strip: u32, lane: u32) -> Sums {
    // Half of the invocations work on the even strips and half on the odd ones. A strip that does not exist is the last one once more,
    // and its sums are dropped.
    let own = strip + lane / 32u;
    let rows = 32u * min(vec4<u32>(own, own + 2u, own + 4u, own + 6u), vec4<u32>(LAST_STRIP)) + lane % 32u;
    var sums = Sums();
    for (var start = 0u; start < BLOCKS; start += CHUNK_BLOCKS) {
        workgroupBarrier();
        for (var i = lane; i < CHUNK; i += LANES) {
            let column = start * BLOCK_QUADS * 4u + i;
            let by = affine(column);
            tile[i] = Rows(
                inputs(0u, first, column, by),
                inputs(4u, first, column, by),
                inputs(8u, first, column, by),
                inputs(12u, first, column, by),
            );
        }
        workgroupBarrier();
        let end = min(CHUNK_BLOCKS, BLOCKS - start);
        for (var b = 0u; b < end; b++) {
            let a = load(rows.x, start + b);
            let e = load(rows.y, start + b);
            let c = load(rows.z, start + b);
            let d = load(rows.w, start + b);
            for (var j = 0u; j < BLOCK_QUADS; j++) {
                let weights = mat4x4<f32>(quad(a, j), quad(e, j), quad(c, j), quad(d, j));
                for (var i = 0u; i < 4u; i++) {
                    let inputs = tile[(b * BLOCK_QUADS + j) * 4u + i];
                    sums.a += weights[0][i] * inputs;
                    sums.b += weights[1][i] * inputs;
                    sums.c += weights[2][i] * inputs;
                    sums.d += weights[3][i] * inputs;
                }
            }
        }
    }
    return sums;
}

// Puts the features of turn `turn` where `total` finds them.
fn share(sums: Sums, turn: u32, lane: u32) {
    var own = sums.a;
    if turn == 1u {
        own = sums.b;
    } else if turn == 2u {
        own = sums.c;
    } else if turn == 3u {
        own = sums.d;
    }
    workgroupBarrier();
    tile[lane] = own;
    workgroupBarrier();
}

// Feature `local` of the turn, for row `r` of the tile.
fn total(r: u32, local: u32) -> f32 {
    return tile[local][r / 4u][r % 4u];
}
