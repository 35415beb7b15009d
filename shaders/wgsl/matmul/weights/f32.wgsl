// Weights in f32: an element is four neighbouring columns of a row.

// Columns 4 j to 4 j + 3 of a block.
fn quad(block: Block, j: u32) -> vec4<f32> {
    return weight_element(block.panel, block.at + j * 8u);
}
