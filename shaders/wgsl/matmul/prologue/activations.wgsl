// The input is the output of another step. An epilogue that adds to the residual stream reads it
// with `stream`.

@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> activations: array<f32>;

// The stream at a row and column that exist.
fn stream(row: u32, column: u32) -> f32 {
    return x[row * EMBED + column];
}

// An input of the matrix: row `row`, which is row `r` of the tile. Zero beyond the last column. A
// row beyond the last is clamped to it; the result is discarded.
fn input(r: u32, row: u32, column: u32, scale_shift: vec2<f32>) -> f32 {
    let value = activations[min(row, pass_uniform.rows - 1u) * COLUMNS + min(column, COLUMNS - 1u)];
    return select(0.0, value, column < COLUMNS);
}
