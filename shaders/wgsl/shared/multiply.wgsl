// The gradient of an activation's input: the gradient of its output times the slopes.

@group(1) @binding(0) var<storage, read> slopes: array<f32>;
@group(1) @binding(4) var<storage, read_write> out: array<f32>;

// Element `i` of row `row`.
fn compute(row: u32, i: u32) {
    let at = row * EMBED_STRIDE + i;
    out[at] *= slopes[at];
}
