// A matrix, row by row, a number of columns that four does not divide.

@group(1) @binding(1) var<storage, read> weight_matrix: array<f32>;

// Where row `row` begins.
fn weight_start(row: u32) -> u32 {
    return row * COLUMNS;
}

// A quad of the row that begins at `at`. Behind the last column stands anything.
fn weight(at: u32, quad: u32) -> vec4<f32> {
    let columns = min(4u * quad + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(COLUMNS - 1u));
    return vec4<f32>(
        weight_matrix[at + columns.x],
        weight_matrix[at + columns.y],
        weight_matrix[at + columns.z],
        weight_matrix[at + columns.w],
    );
}
