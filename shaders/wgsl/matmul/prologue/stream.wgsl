// The input is the residual stream, through a norm.

@group(0) @binding(1) var<storage, read> x: array<f32>;

// The stream at a row and column that exist.
fn stream(row: u32, column: u32) -> f32 {
    return x[(pass_uniform.first + row) * EMBED + column];
}

// An input of the matrix, normalised: row `row`, which is row `r` of the tile. Zero beyond the last
// column. A row beyond the last is clamped to it; the result is discarded.
fn input(r: u32, row: u32, column: u32, scale_shift: vec2<f32>) -> f32 {
    let value = stream(min(row, pass_uniform.rows - 1u), min(column, EMBED - 1u));
    return select(0.0, normalize(r, value, scale_shift), column < EMBED);
}
