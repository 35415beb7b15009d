// Weights in blocks of 256 columns with scales and minima of sub-blocks, in the layout of
// `matmul/weights/q4_k`. Each nibble is expanded to a byte, for packed dot products.

struct Block {
    panel: u32,
    // The first word of the sub-block.
    at: u32,
    // The first word of the block of 256 columns.
    start: u32,
    // The index of the sub-block in that block.
    own: u32,
}

// Locates the 32 columns of row `row` from `32 block` on.
fn load(row: u32, block: u32) -> Block {
    let start = block / 8u * 296u + row % 8u;
    return Block(row / 8u, start + block % 8u * 32u, start, block % 8u);
}

// Columns 4 word to 4 word + 3 of a block. Low nibbles are the first half of a block, high nibbles
// the second.
fn bytes(block: Block, word: u32) -> u32 {
    return (weight_element(block.panel, block.at + (word & 3u) * 8u) >> (word & 4u)) & 0x0f0f0f0fu;
}

// A weight is scale times byte plus minimum.
fn scale_and_minimum(block: Block) -> vec2<f32> {
    let fine = weight_element(block.panel, block.start + 256u + block.own / 2u * 8u) >> (block.own % 2u * 16u);
    let scales = unpack2x16float(weight_element(block.panel, block.start + 288u));
    return scales * vec2<f32>(vec2<u32>(fine, fine >> 8u) & vec2<u32>(255u));
}
