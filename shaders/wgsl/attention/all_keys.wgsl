// One workgroup attends to all keys that a query sees.

@group(0) @binding(2) var<storage, read_write> a: array<f32>;

// The range of the workgroup's keys. There are `keys` keys in all.
fn key_range(split: u32, keys: u32) -> vec2<u32> {
    return vec2<u32>(0u, keys);
}

// Stores a column of the output: the sum of the weighted values, divided by the sum of the weights.
fn store_output(split: u32, row: u32, head: u32, column: u32, weighted_values: f32, sum: f32, maximum: f32) {
    a[row * Q_WIDTH + head * HEAD_DIM + column] = weighted_values / sum;
}
