// The gradient of a bias: the sum of dy over the rows. The halves of a gated layer are padded in
// dy, but not in the bias.

@group(1) @binding(0) var<storage, read> dy: array<f32>;
@group(1) @binding(1) var<storage, read_write> d_bias: array<f32>;

fn column_term(row: u32, column: u32) -> vec2<f32> {
    let at = select(column, column - HALF + SECOND_HALF, column >= HALF);
    return vec2<f32>(dy[row * DY_STRIDE + at], 0.0);
}

fn store_column(column: u32, sums: vec2<f32>) {
    d_bias[column] = accumulated(d_bias[column], sums.x);
}
