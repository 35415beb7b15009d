// The scale of a norm, in a separate buffer.

@group(1) @binding(1) var<storage, read> gamma_vector: array<f32>;

fn gamma(column: u32) -> f32 {
    return gamma_vector[column];
}
