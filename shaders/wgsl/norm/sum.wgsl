// The norm of a branch is added to the stream: residual + BRANCH_SCALE * drop(norm).

@group(1) @binding(5) var<storage, read> residual: array<f32>;

fn with_residual(row: u32, column: u32, normal: f32) -> f32 {
    let dropped = BRANCH_SCALE * dropout_scale(row * EMBED + column) * normal;
    return residual[row * EMBED_STRIDE + column] + dropped;
}
