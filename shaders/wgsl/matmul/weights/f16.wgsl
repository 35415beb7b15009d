// Weights in f16: an element is four neighbouring columns of a row, two to a word. They are
// unpacked to f32, so the adapter needs no f16.

// Columns 4 j to 4 j + 3 of a block.
fn quad(block: Block, j: u32) -> vec4<f32> {
    let words = weight_element(block.panel, block.at + j * 8u);
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}
