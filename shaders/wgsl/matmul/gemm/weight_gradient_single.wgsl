// Stores the gradient of a matrix, row-major, with a number of columns that is not a multiple of
// four.

@group(1) @binding(2) var<storage, read_write> d_weight: array<f32>;

fn store_quad(row: u32, column: u32, values: vec4<f32>) {
    for (var i = 0u; i < 4u; i++) {
        if column + i < COLUMNS {
            let at = row * COLUMNS + column + i;
            var sum = values[i];
            if pass_uniform.replace == 0u {
                sum += d_weight[at];
            }
            d_weight[at] = sum;
        }
    }
}
