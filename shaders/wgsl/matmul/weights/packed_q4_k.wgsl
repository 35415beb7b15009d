// Weights in blocks of 256 columns with scales and minima of sub-blocks, with the layout of
// `matmul/weights/q4_k`, for products of bytes: each nibble becomes a byte.

struct Block {
    panel: u32,
    // The first word of the sub-block's quants, and of its block.
    at: u32,
    start: u32,
    own: u32,
}

// Columns `32 block ..` of row `row`.
fn load(row: u32, block: u32) -> Block {
    let start = block / 8u * 296u + row % 8u;
    return Block(row / 8u, start + block % 8u * 32u, start, block % 8u);
}

// Four columns of a block: low nibbles are its first half, high ones the second.
fn bytes(block: Block, word: u32) -> u32 {
    return (weight_element(block.panel, block.at + (word & 3u) * 8u) >> (word & 4u)) & 0x0f0f0f0fu;
}

// A weight is scale times byte plus minimum.
fn scale_and_minimum(block: Block) -> vec2<f32> {
    let fine = weight_element(block.panel, block.start + 256u + block.own / 2u * 8u) >> (block.own % 2u * 16u);
    let scales = unpack2x16float(weight_element(block.panel, block.start + 288u));
    return scales * vec2<f32>(vec2<u32>(fine, fine >> 8u) & vec2<u32>(255u));
}
