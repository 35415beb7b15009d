// Products of a prompt by cooperative matrices (tensor cores): a subgroup multiplies two matrices of 16 x 16 at once. Operands are f16, sums are f32.
//
// Sixteen columns at a time go through workgroup memory, as a panel's order is not one that a matrix could be loaded in, and the strips in two halves, so that they
// leave room.

enable f16;
enable wgpu_cooperative_matrix;

const LANES: u32 = 64u;
// The matrix's last strip of 32 rows.
const LAST_STRIP: u32 = 71u;
// Blocks of a row of the matrix, and how many of them one filling of the tile serves.
const BLOCKS: u32 = 24u;
const BLOCK_QUADS: u32 = 8u;
const CHUNK_BLOCKS: u32 = 4u;

struct Subgroup { number: u32, count: u32, lane: u32, size: u32 }

var<private> subgroup: Subgroup;

alias Sum = coop_mat16x16<f32, C>;
struct Sums { nothing: u32 }
var<private> a_0: Sum;
var<private> a_1: Sum;
var<private> b_0: Sum;
var<private> b_1: Sum;
var<private> c_0: Sum;
var<private> c_1: Sum;
var<private> d_0: Sum;
var<private> d_1: Sum;

struct Block { at: u32 }

fn load(row: u32, block: u32) -> Block {
    return Block(row + block);
}

fn quad(block: Block, j: u32) -> vec4<f32> {
    return vec4<f32>(f32(block.at + j));
}

fn affine(column: u32) -> vec2<f32> {
    return vec2<f32>(1.0, 0.0);
}

fn input(r: u32, row: u32, column: u32, by: vec2<f32>) -> f32 {
    return f32(r + row + column) * by.x + by.y;
}
// ---- end of parameters ----

alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;

// Columns of a filling, and whole steps of sixteen of them.
const CHUNK: u32 = CHUNK_BLOCKS * BLOCK_QUADS * 4u;
const PITCH: u32 = (CHUNK + 15u) / 16u * 16u;

// [row][column].
var<workgroup> left: array<f16, 16u * PITCH>;
// [subgroup][feature of two strips][column].
var<workgroup> right: array<f16, 2u * 64u * 16u>;

// Brings sixteen columns, from group of four `first` on, of the strips `strip` and `strip + 2` to the subgroup's place.
fn stage(strip: u32, first: u32) {
    for (var i = subgroup.lane; i < 64u * 4u; i += 32u) {
        let feature = i / 4u;
        let column = first + i % 4u;
        var values = vec4<f32>(0.0);
        if column < BLOCKS * BLOCK_QUADS {
            let row = 32u * min(strip + feature / 32u * 2u, LAST_STRIP) + feature % 32u;
            values = quad(load(row, column / BLOCK_QUADS), column % BLOCK_QUADS);
        }
        let at = (subgroup.number * 64u + feature) * 16u + i % 4u * 4u;
        for (var j = 0u; j < 4u; j++) {
            right[at + j] = f16(values[j]);
        }
    }
}

// Sixteen features of what was staged: a column of the matrix is a row of weights.
fn staged(feature: u32) -> Right {
    return coopLoad<Right>(&right[(subgroup.number * 64u + feature) * 16u], 16u);
}

fn multiply(first: u32, strip: u32, lane: u32) -> Sums {
    let own = strip + subgroup.number;
    a_0 = Sum();
    a_1 = Sum();
    b_0 = Sum();
    b_1 = Sum();
    c_0 = Sum();
    c_1 = Sum();
    d_0 = Sum();
    d_1 = Sum();
    for (var start = 0u; start < BLOCKS; start += CHUNK_BLOCKS) {
        workgroupBarrier();
        for (var i = lane; i < PITCH; i += LANES) {
            let column = start * BLOCK_QUADS * 4u + i;
            let by = affine(column);
            for (var r = 0u; r < 16u; r++) {
                // What lies between a chunk and its pitch is the next chunk's.
                left[r * PITCH + i] = f16(select(0.0, input(r, first + r, column, by), i < CHUNK));
            }
        }
        let columns = min(CHUNK_BLOCKS, BLOCKS - start) * BLOCK_QUADS * 4u;
        for (var k = 0u; k < columns; k += 16u) {
            let quads = start * BLOCK_QUADS + k / 4u;
            workgroupBarrier();
            stage(own, quads);
            workgroupBarrier();
            let inputs = coopLoadT<Left>(&left[k], PITCH);
            a_0 = coopMultiplyAdd(inputs, staged(0u), a_0);
            a_1 = coopMultiplyAdd(inputs, staged(16u), a_1);
            b_0 = coopMultiplyAdd(inputs, staged(32u), b_0);
            b_1 = coopMultiplyAdd(inputs, staged(48u), b_1);
            workgroupBarrier();
            stage(own + 4u, quads);
            workgroupBarrier();
            c_0 = coopMultiplyAdd(inputs, staged(0u), c_0);
            c_1 = coopMultiplyAdd(inputs, staged(16u), c_1);
            d_0 = coopMultiplyAdd(inputs, staged(32u), d_0);
            d_1 = coopMultiplyAdd(inputs, staged(48u), d_1);
        }
    }
    return Sums(0u);
}
