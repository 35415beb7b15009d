// Weights in blocks of 32 columns: 32 signed bytes and a scale, w = d q (GGUF's Q8_0, its scale
// widened to f32).
//
// A block of a panel is nine lines of eight words, one word for each row of the panel. Eight lines
// have quants, four in a word; the last has scales.

struct Block {
    panel: u32,
    at: u32,
    scale: f32,
}

// Loads the 32 columns of row `row` from `32 block` on.
fn load(row: u32, block: u32) -> Block {
    let at = block * 72u + row % 8u;
    return Block(row / 8u, at, bitcast<f32>(weight_element(row / 8u, at + 64u)));
}

// Columns 4 j to 4 j + 3 of a block.
fn quad(block: Block, j: u32) -> vec4<f32> {
    let word = weight_element(block.panel, block.at + j * 8u);
    // Shifting a byte to the top of a signed word and back extends its sign.
    let quants = bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u);
    return block.scale * vec4<f32>(quants);
}
