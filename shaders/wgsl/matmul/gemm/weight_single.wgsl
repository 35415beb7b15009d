// The weights, row-major, with a number of columns that is not a multiple of four.

@group(1) @binding(1) var<storage, read> weight_matrix: array<f32>;

// The first element of row `row`.
fn weight_start(row: u32) -> u32 {
    return row * COLUMNS;
}

// The columns of a quad. Columns beyond the last are clamped to it; their products are zero, or are
// discarded.
fn quad_columns(quad: u32) -> vec4<u32> {
    return min(4u * quad + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(COLUMNS - 1u));
}

// A quad of the row that begins at `start`.
fn weight(start: u32, quad: u32) -> vec4<f32> {
    let at = start + quad_columns(quad);
    return vec4<f32>(weight_matrix[at.x], weight_matrix[at.y], weight_matrix[at.z], weight_matrix[at.w]);
}
