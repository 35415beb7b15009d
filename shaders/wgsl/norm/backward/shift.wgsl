// The gradient of the norm's shift.

@group(1) @binding(4) var<storage, read_write> d_beta: array<f32>;

fn store_shift(column: u32, sum: f32) {
    d_beta[column] = accumulated(d_beta[column], sum);
}
