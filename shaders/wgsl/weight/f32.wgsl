// Weights in f32: an element is four neighbouring columns of a row.

alias Element = vec4<f32>;
// Elements that are read without a look at the loop's end.
const BLOCK_QUADS: u32 = 8u;

fn element(panel: u32, at: u32) -> Element {
    return Element(f32(panel), f32(at), 0.0, 0.0);
}
// ---- end of parameters ----

struct Block {
    panel: u32,
    at: u32,
}

// Columns `4 BLOCK_QUADS block ..` of row `row`.
fn load(row: u32, block: u32) -> Block {
    return Block(row / 8u, block * BLOCK_QUADS * 8u + row % 8u);
}

// Four columns of a block.
fn quad(block: Block, j: u32) -> vec4<f32> {
    return element(block.panel, block.at + j * 8u);
}
