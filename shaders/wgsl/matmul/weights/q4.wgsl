// Weights in blocks of 32 columns: 32 nibbles, a scale and a minimum, w = d q + m (GGUF's Q4_1;
// Q4_0 is the case m = -8 d).
//
// A block of a panel is five lines of eight words, one word for each row of the panel. Four lines
// have nibbles, eight in a word. The last line has f16 pairs (d, m). As in GGUF, low nibbles are
// the first half of the block and high nibbles the second.

struct Block {
    words: vec4<u32>,
    // d and m.
    scales: vec2<f32>,
}

// Loads the 32 columns of row `row` from `32 block` on.
fn load(row: u32, block: u32) -> Block {
    let panel = row / 8u;
    let at = block * 40u + row % 8u;
    let words = vec4<u32>(
        weight_element(panel, at),
        weight_element(panel, at + 8u),
        weight_element(panel, at + 16u),
        weight_element(panel, at + 24u),
    );
    return Block(words, unpack2x16float(weight_element(panel, at + 32u)));
}

// Columns 4 j to 4 j + 3 of a block.
fn quad(block: Block, j: u32) -> vec4<f32> {
    let word = block.words[j & 3u] >> (j & 4u);
    let quants = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
    return fma(vec4<f32>(quants), vec4<f32>(block.scales.x), vec4<f32>(block.scales.y));
}
