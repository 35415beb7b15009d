// A step that reads the residual stream, through its norm.

@group(0) @binding(1) var<storage, read> x: array<f32>;

// The stream at a row and column that exist.
fn stream(row: u32, column: u32) -> f32 {
    return x[(pass_uniform.first + row) * EMBED + column];
}

// What the matrix is multiplied with: row `row`, which is number `r` of its tile, normalised. Zero outside.
fn input(r: u32, row: u32, column: u32, scale_shift: vec2<f32>) -> f32 {
    if row >= pass_uniform.rows || column >= EMBED {
        return 0.0;
    }
    return normalize(r, stream(row, column), scale_shift);
}
