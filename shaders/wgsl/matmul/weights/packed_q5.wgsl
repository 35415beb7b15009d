// Weights in blocks of 32 quants of five bits, a scale and a minimum, in the layout of
// `matmul/weights/q5`. Each quant is expanded to a byte, for packed dot products.

struct Block {
    panel: u32,
    at: u32,
}

// Locates the 32 columns of row `row` from `32 block` on.
fn load(row: u32, block: u32) -> Block {
    return Block(row / 8u, block * 48u + row % 8u);
}

// Columns 4 word to 4 word + 3 of a block. Low nibbles are the first half of a block, high nibbles
// the second. The multiplication moves bit i of the four fifth bits to bit 8 i.
fn bytes(block: Block, word: u32) -> u32 {
    let low = weight_element(block.panel, block.at + 8u + (word & 3u) * 8u) >> (word & 4u);
    let fifth = (weight_element(block.panel, block.at) >> (4u * word)) & 15u;
    return (low & 0x0f0f0f0fu) | (((fifth * 0x00204081u) & 0x01010101u) << 4u);
}

// A weight is scale times byte plus minimum.
fn scale_and_minimum(block: Block) -> vec2<f32> {
    return unpack2x16float(weight_element(block.panel, block.at + 40u));
}
