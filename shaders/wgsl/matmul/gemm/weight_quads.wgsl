// The weights, row-major, with whole quads in each row.

@group(1) @binding(1) var<storage, read> weight_matrix: array<vec4<f32>>;

// The first quad of row `row`.
fn weight_start(row: u32) -> u32 {
    return row * (COLUMNS / 4u);
}

// A quad of the row that begins at `start`.
fn weight(start: u32, quad: u32) -> vec4<f32> {
    return weight_matrix[start + quad];
}
