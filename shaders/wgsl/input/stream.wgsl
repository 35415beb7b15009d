// A step that reads the residual stream, through its norm.

// Columns of the matrix, and width of the stream.
const EMBED: u32 = 768u;

struct Run { position: u32, rows: u32, first: u32 }
@group(0) @binding(0) var<uniform> run: Run;

fn normalise(r: u32, x: f32, by: vec2<f32>) -> f32 {
    return x;
}
// ---- end of parameters ----

@group(0) @binding(1) var<storage, read> x: array<f32>;

// The stream at a row and column that exist.
fn stream(row: u32, column: u32) -> f32 {
    return x[(run.first + row) * EMBED + column];
}

// What the matrix is multiplied with: row `row`, which is number `r` of its tile, normalised. Zero outside.
fn input(r: u32, row: u32, column: u32, by: vec2<f32>) -> f32 {
    if row >= run.rows || column >= EMBED {
        return 0.0;
    }
    return normalise(r, stream(row, column), by);
}
