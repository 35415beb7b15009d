// Weights in blocks of 32 nibbles, a scale and a minimum, in the layout of `matmul/weights/q4`.
// Each nibble is expanded to a byte, for packed dot products.

struct Block {
    panel: u32,
    at: u32,
}

// Locates the 32 columns of row `row` from `32 block` on.
fn load(row: u32, block: u32) -> Block {
    return Block(row / 8u, block * 40u + row % 8u);
}

// Columns 4 word to 4 word + 3 of a block. Low nibbles are the first half of a block, high nibbles
// the second.
fn bytes(block: Block, word: u32) -> u32 {
    return (weight_element(block.panel, block.at + (word & 3u) * 8u) >> (word & 4u)) & 0x0f0f0f0fu;
}

// A weight is scale times byte plus minimum.
fn scale_and_minimum(block: Block) -> vec2<f32> {
    return unpack2x16float(weight_element(block.panel, block.at + 32u));
}
