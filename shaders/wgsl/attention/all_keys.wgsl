// All keys that a query sees, in one workgroup.

@group(0) @binding(2) var<storage, read_write> a: array<f32>;

// The keys of the workgroup, from the first to before the last, of `keys`.
fn key_range(split: u32, keys: u32) -> vec2<u32> {
    return vec2<u32>(0u, keys);
}

// What a column gathered, the sum of its weights, and the greatest score, with which the weights are 1.
fn store_output(split: u32, row: u32, head: u32, column: u32, weighted_values: f32, sum: f32, maximum: f32) {
    a[row * Q_WIDTH + head * HEAD_DIM + column] = weighted_values / sum;
}
