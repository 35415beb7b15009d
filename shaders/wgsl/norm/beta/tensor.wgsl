// The shift of a norm, in a separate buffer.

@group(1) @binding(2) var<storage, read> beta_vector: array<f32>;

fn beta(column: u32) -> f32 {
    return beta_vector[column];
}
