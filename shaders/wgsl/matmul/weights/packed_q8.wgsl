// Weights in blocks of 32 signed bytes and a scale, in the layout of `matmul/weights/q8`, for
// packed dot products.

struct Block {
    panel: u32,
    at: u32,
}

// Locates the 32 columns of row `row` from `32 block` on.
fn load(row: u32, block: u32) -> Block {
    return Block(row / 8u, block * 72u + row % 8u);
}

// Columns 4 word to 4 word + 3 of a block.
fn bytes(block: Block, word: u32) -> u32 {
    return weight_element(block.panel, block.at + word * 8u);
}

// A weight is scale times byte plus minimum.
fn scale_and_minimum(block: Block) -> vec2<f32> {
    return vec2<f32>(bitcast<f32>(weight_element(block.panel, block.at + 64u)), 0.0);
}
