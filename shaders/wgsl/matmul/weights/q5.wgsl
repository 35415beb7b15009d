// Weights in blocks of 32 columns: 32 quants of five bits, a scale and a minimum, w = d q + m
// (GGUF's Q5_1; in Q5_0, m = -16 d).
//
// A block of a panel is six lines of eight words, one word for each row of the panel. The first
// line has the fifth bits: bit j of a word belongs to column j. Four lines have nibbles, eight in a
// word. The last line has f16 pairs (d, m). As in GGUF, low nibbles are the first half of the block
// and high nibbles the second.

struct Block {
    fifth: u32,
    words: vec4<u32>,
    // d and m.
    scales: vec2<f32>,
}

// Loads the 32 columns of row `row` from `32 block` on.
fn load(row: u32, block: u32) -> Block {
    let panel = row / 8u;
    let at = block * 48u + row % 8u;
    let words = vec4<u32>(
        weight_element(panel, at + 8u),
        weight_element(panel, at + 16u),
        weight_element(panel, at + 24u),
        weight_element(panel, at + 32u),
    );
    let scales = unpack2x16float(weight_element(panel, at + 40u));
    return Block(weight_element(panel, at), words, scales);
}

// Columns 4 j to 4 j + 3 of a block.
fn quad(block: Block, j: u32) -> vec4<f32> {
    let word = block.words[j & 3u] >> (j & 4u);
    let low = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
    let fifth = (vec4<u32>(block.fifth >> (4u * j)) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u);
    let quants = low | (fifth << vec4<u32>(4u));
    return fma(vec4<f32>(quants), vec4<f32>(block.scales.x), vec4<f32>(block.scales.y));
}
