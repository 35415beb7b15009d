// Weights in blocks of 256 columns, in sub-blocks of 32: quants of six bits, a signed byte s for
// each half, and a scale d of the block, w = d s (q - 32) (GGUF's Q6_K, its d widened to f32).
//
// A block of a panel is 53 lines of eight words, one word for each row of the panel. Each of the
// eight sub-blocks has six lines. In two of them, a word has the upper two bits of sixteen columns;
// the other four have nibbles, as in `matmul/weights/q4`. Then follow four lines of bytes s, in
// which a word has those of two sub-blocks, and one line of d. The files that multiply read
// sub-blocks, and call them blocks.

struct Block {
    upper: vec2<u32>,
    words: vec4<u32>,
    // d s of both halves.
    scales: vec2<f32>,
}

// Loads the 32 columns of row `row` from `32 block` on.
fn load(row: u32, block: u32) -> Block {
    let panel = row / 8u;
    let start = block / 8u * 424u + row % 8u;
    let own = block % 8u;
    let at = start + own * 48u;
    let words = vec4<u32>(
        weight_element(panel, at + 16u),
        weight_element(panel, at + 24u),
        weight_element(panel, at + 32u),
        weight_element(panel, at + 40u),
    );
    let upper = vec2<u32>(weight_element(panel, at), weight_element(panel, at + 8u));
    let fine = weight_element(panel, start + 384u + own / 2u * 8u) >> (own % 2u * 16u);
    let d = bitcast<f32>(weight_element(panel, start + 416u));
    // Shifting a byte to the top of a signed word and back extends its sign.
    let by = bitcast<vec2<i32>>(vec2<u32>(fine << 24u, fine << 16u)) >> vec2<u32>(24u);
    return Block(upper, words, d * vec2<f32>(by));
}

// Columns 4 j to 4 j + 3 of a block.
fn quad(block: Block, j: u32) -> vec4<f32> {
    let word = block.words[j & 3u] >> (j & 4u);
    let low = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
    let four = block.upper[j / 4u] >> (8u * (j & 3u));
    let upper = (vec4<u32>(four) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u);
    let quants = vec4<f32>(low | (upper << vec4<u32>(4u))) - vec4<f32>(32.0);
    return block.scales[j / 4u] * quants;
}
