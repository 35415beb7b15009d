// Gradients of a norm's scale, the sum of dy (x - mean) / deviation, and of its shift, the sum of
// dy.

@group(1) @binding(0) var<storage, read> x: array<f32>;
@group(1) @binding(1) var<storage, read> stats: array<vec2<f32>>;
@group(1) @binding(2) var<storage, read> dy: array<f32>;
@group(1) @binding(3) var<storage, read_write> d_gamma: array<f32>;

fn column_term(row: u32, column: u32) -> vec2<f32> {
    let at = row * EMBED_STRIDE + column;
    let d = dy[at];
    return vec2<f32>(d * (x[at] - stats[row].x) * stats[row].y, d);
}

fn store_column(column: u32, sums: vec2<f32>) {
    d_gamma[column] = accumulated(d_gamma[column], sums.x);
    store_shift(column, sums.y);
}
