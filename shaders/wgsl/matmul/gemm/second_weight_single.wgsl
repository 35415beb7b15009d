// The weights of a gated MLP's second half, which may be in a separate binding: row-major, with a
// number of columns that is not a multiple of four.

@group(1) @binding(2) var<storage, read> second_weight_matrix: array<f32>;

// A quad of the row that begins at `start`.
fn second_weight(start: u32, quad: u32) -> vec4<f32> {
    let at = start + quad_columns(quad);
    return vec4<f32>(second_weight_matrix[at.x], second_weight_matrix[at.y], second_weight_matrix[at.z], second_weight_matrix[at.w]);
}
