// Weights in bf16, the upper halves of f32s: an element is four neighbouring columns of a row, two
// to a word.

// Columns 4 j to 4 j + 3 of a block.
fn quad(block: Block, j: u32) -> vec4<f32> {
    let words = weight_element(block.panel, block.at + j * 8u);
    let low = bitcast<vec2<f32>>(words << vec2<u32>(16u));
    let high = bitcast<vec2<f32>>(words & vec2<u32>(0xffff0000u));
    return vec4<f32>(low.x, high.x, low.y, high.y);
}
