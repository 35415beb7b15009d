// The gradient of a matrix, row by row, whole quads to a row.

const COLUMNS: u32 = 768u;

struct Run { tokens: u32, rows: u32, first: u32, replace: u32, scale: f32, key: u32, threshold: u32, keep: f32 }
@group(0) @binding(0) var<uniform> run: Run;
// ---- end of parameters ----

@group(1) @binding(2) var<storage, read_write> d_weights: array<vec4<f32>>;

fn write(row: u32, column: u32, values: vec4<f32>) {
    if column < COLUMNS {
        let at = (row * COLUMNS + column) / 4u;
        var sum = values;
        if run.replace == 0u {
            sum += d_weights[at];
        }
        d_weights[at] = sum;
    }
}
