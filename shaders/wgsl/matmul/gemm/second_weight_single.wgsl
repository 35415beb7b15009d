// The matrix once more, or the part of it that has the half that is gated, row by row, a number of columns that four does not divide.

@group(1) @binding(2) var<storage, read> second_weight_matrix: array<f32>;

// A quad of the row that begins at `at`. Behind the last column stands anything.
fn second_weight(at: u32, quad: u32) -> vec4<f32> {
    let columns = min(4u * quad + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(COLUMNS - 1u));
    return vec4<f32>(
        second_weight_matrix[at + columns.x],
        second_weight_matrix[at + columns.y],
        second_weight_matrix[at + columns.z],
        second_weight_matrix[at + columns.w],
    );
}
