// The gradient of a matrix, row by row, whole quads to a row.

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
