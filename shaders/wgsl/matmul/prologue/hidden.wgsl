// The input is the hidden layer of the head, through a norm. It has a row for each row of logits.

@group(0) @binding(3) var<storage, read> activations: array<f32>;

// The hidden layer at a row and column that exist.
fn stream(row: u32, column: u32) -> f32 {
    return activations[row * EMBED + column];
}

// An input of the matrix, normalised: row `row`, which is row `r` of the tile. Zero beyond the last
// column. A row beyond the last is clamped to it; the result is discarded.
fn input(r: u32, row: u32, column: u32, scale_shift: vec2<f32>) -> f32 {
    let value = stream(min(row, pass_uniform.rows - 1u), min(column, EMBED - 1u));
    return select(0.0, normalize(r, value, scale_shift), column < EMBED);
}
