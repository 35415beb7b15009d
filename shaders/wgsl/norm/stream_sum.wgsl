// The norm of a branch is added to the stream: x + BRANCH_SCALE * norm.

@group(0) @binding(1) var<storage, read> x: array<f32>;

fn with_residual(row: u32, column: u32, normal: f32) -> f32 {
    return fma(BRANCH_SCALE, normal, x[row * EMBED + column]);
}
