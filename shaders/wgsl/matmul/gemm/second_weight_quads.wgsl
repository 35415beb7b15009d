// The weights of a gated MLP's second half, which may be in a separate binding: row-major, with
// whole quads in each row.

@group(1) @binding(2) var<storage, read> second_weight_matrix: array<vec4<f32>>;

// A quad of the row that begins at `start`.
fn second_weight(start: u32, quad: u32) -> vec4<f32> {
    return second_weight_matrix[start + quad];
}
