// x = embedding of the token, plus that of its position. One invocation makes four columns of a row.

const EMBED: u32 = 768u;
const LANES: u32 = 64u;
// Groups of four columns to a row.
const QUADS: u32 = 192u;
const BLOCK_QUADS: u32 = 8u;

struct Run { position: u32, rows: u32, first: u32 }
@group(0) @binding(0) var<uniform> run: Run;

struct Block { at: u32 }

fn load(row: u32, block: u32) -> Block {
    return Block(row + block);
}

fn quad(block: Block, j: u32) -> vec4<f32> {
    return vec4<f32>(f32(block.at + j));
}

fn position(row: u32, column: u32) -> f32 {
    return 0.0;
}
// ---- end of parameters ----

@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<storage, read> tokens: array<u32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y;
    let at = group.x * LANES + lane;
    if run.rows == 0u || at >= QUADS {
        return;
    }
    // The table is laid out as a matrix, as it is one where the head shares it.
    let values = quad(load(tokens[row], at / BLOCK_QUADS), at % BLOCK_QUADS);
    for (var j = 0u; j < 4u; j++) {
        let column = 4u * at + j;
        if column < EMBED {
            out[row * EMBED + column] = values[j] + position(row, column);
        }
    }
}
