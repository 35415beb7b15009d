// Weights in bf16, the upper halves of f32s: an element is four neighbouring columns of a row, two to a word.

alias Element = vec2<u32>;
// Elements that are read without a look at the loop's end.
const BLOCK_QUADS: u32 = 8u;

fn element(panel: u32, at: u32) -> Element {
    return Element(panel, at);
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
    let words = element(block.panel, block.at + j * 8u);
    let low = bitcast<vec2<f32>>(words << vec2<u32>(16u));
    let high = bitcast<vec2<f32>>(words & vec2<u32>(0xffff0000u));
    return vec4<f32>(low.x, high.x, low.y, high.y);
}
