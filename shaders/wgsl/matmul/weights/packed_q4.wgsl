// Weights in blocks of 32 nibbles, a scale and a minimum, with the layout of `matmul/weights/q4`,
// for products of bytes: each nibble becomes a byte.

struct Block {
    panel: u32,
    at: u32,
}

// Columns `32 block ..` of row `row`.
fn load(row: u32, block: u32) -> Block {
    return Block(row / 8u, block * 40u + row % 8u);
}

// Four columns of a block: low nibbles are its first half, high ones the second.
fn bytes(block: Block, word: u32) -> u32 {
    return (weight_element(block.panel, block.at + (word & 3u) * 8u) >> (word & 4u)) & 0x0f0f0f0fu;
}

// A weight is scale times byte plus minimum.
fn scale_and_minimum(block: Block) -> vec2<f32> {
    return unpack2x16float(weight_element(block.panel, block.at + 32u));
}
