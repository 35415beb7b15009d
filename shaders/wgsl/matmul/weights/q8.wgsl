// Weights in blocks of 32 columns: 32 signed bytes and a scale, w = d q (GGUF's Q8_0, its scale
// widened to f32).
//
// A block of a panel is nine lines of eight words: eight lines of four quants each, then one of
// scales.

struct Block {
    panel: u32,
    at: u32,
    scale: f32,
}

// Columns `32 block ..` of row `row`.
fn load(row: u32, block: u32) -> Block {
    let at = block * 72u + row % 8u;
    return Block(row / 8u, at, bitcast<f32>(weight_element(row / 8u, at + 64u)));
}

// Four columns of a block.
fn quad(block: Block, j: u32) -> vec4<f32> {
    let word = weight_element(block.panel, block.at + j * 8u);
    // Shifting a byte to the top of a signed word and back extends its sign.
    let quants = bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u);
    return block.scale * vec4<f32>(quants);
}
