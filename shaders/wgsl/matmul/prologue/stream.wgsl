// The input is the residual stream, through a norm.

@group(0) @binding(1) var<storage, read> x: array<f32>;

// The stream at a row and column that exist.
fn stream(row: u32, column: u32) -> f32 {
    return x[(pass_uniform.first + row) * EMBED + column];
}

// An input of the matrix, normalized: row `row`, which is row `r` of the tile. Zero outside.
fn input(r: u32, row: u32, column: u32, scale_shift: vec2<f32>) -> f32 {
    if row >= pass_uniform.rows || column >= EMBED {
        return 0.0;
    }
    return normalize(r, stream(row, column), scale_shift);
}
