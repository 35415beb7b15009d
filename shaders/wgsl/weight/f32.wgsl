// Weights in f32: an element is four neighbouring columns of a row.

alias Element = vec4<f32>;

struct Block {
    panel: u32,
    at: u32,
}

fn element(panel: u32, at: u32) -> Element {
    return Element(f32(panel), f32(at), 0.0, 0.0);
}
// ---- end of parameters ----

// Four columns of a block.
fn quad(block: Block, j: u32) -> vec4<f32> {
    return element(block.panel, block.at + j * 8u);
}
