// A norm that shifts after it has scaled.

@group(1) @binding(2) var<storage, read> beta: array<f32>;

fn shift(column: u32) -> f32 {
    return beta[column];
}
