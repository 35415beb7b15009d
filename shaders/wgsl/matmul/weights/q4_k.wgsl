// Weights in blocks of 256 columns, in sub-blocks of 32 nibbles: each sub-block has a scale s and a
// minimum m, which are bytes, and the block has an f16 pair (d, e), w = d s q + e m (GGUF's Q4_K).
//
// A block of a panel is 37 lines of eight words, one word for each row of the panel. Each of the
// eight sub-blocks has four lines of nibbles, as in `matmul/weights/q4`. Then follow four lines of
// bytes, in which a word has s and m of two sub-blocks, and one line of f16 pairs. The files that
// multiply read sub-blocks, and call them blocks.

struct Block {
    words: vec4<u32>,
    // d s and e m.
    scales: vec2<f32>,
}

// Loads the 32 columns of row `row` from `32 block` on.
fn load(row: u32, block: u32) -> Block {
    let panel = row / 8u;
    let start = block / 8u * 296u + row % 8u;
    let own = block % 8u;
    let at = start + own * 32u;
    let words = vec4<u32>(
        weight_element(panel, at),
        weight_element(panel, at + 8u),
        weight_element(panel, at + 16u),
        weight_element(panel, at + 24u),
    );
    let fine = weight_element(panel, start + 256u + own / 2u * 8u) >> (own % 2u * 16u);
    let scales = unpack2x16float(weight_element(panel, start + 288u));
    return Block(words, scales * vec2<f32>(vec2<u32>(fine, fine >> 8u) & vec2<u32>(255u)));
}

// Columns 4 j to 4 j + 3 of a block.
fn quad(block: Block, j: u32) -> vec4<f32> {
    let word = block.words[j & 3u] >> (j & 4u);
    let quants = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
    return fma(vec4<f32>(quants), vec4<f32>(block.scales.x), vec4<f32>(block.scales.y));
}
