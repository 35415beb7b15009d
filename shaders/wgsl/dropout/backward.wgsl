// Passes a gradient back through dropout and the factor of a branch. Dropped elements are zero.

@group(1) @binding(0) var<storage, read> dy: array<f32>;
@group(1) @binding(4) var<storage, read_write> out: array<f32>;

// Element `i` of row `row`.
fn compute(row: u32, i: u32) {
    let at = row * EMBED_STRIDE + i;
    out[at] = BRANCH_SCALE * dropout_scale(row * EMBED + i) * dy[at];
}
