// Stores the gradient of a matrix, row-major, with whole quads in each row.

@group(1) @binding(2) var<storage, read_write> d_weight: array<vec4<f32>>;

fn store_quad(row: u32, column: u32, values: vec4<f32>) {
    if column < COLUMNS {
        let at = (row * COLUMNS + column) / 4u;
        var sum = values;
        if pass_uniform.replace == 0u {
            sum += d_weight[at];
        }
        d_weight[at] = sum;
    }
}
