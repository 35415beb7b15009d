// A part of the keys: what it gathers is put together with the others' by `join`, which is why its maximum and sum are kept.

// [part][head]: the columns, the maximum, the sum.
@group(0) @binding(2) var<storage, read_write> splits: array<f32>;

// The keys of part `part`, from the first to before the last, of `keys`.
fn key_range(split: u32, keys: u32) -> vec2<u32> {
    return vec2<u32>(split * SPLIT_KEYS, min((split + 1u) * SPLIT_KEYS, keys));
}

// What a column gathered, the sum of its weights, and the greatest score, with which the weights are 1.
fn store_output(split: u32, row: u32, head: u32, column: u32, weighted_values: f32, sum: f32, maximum: f32) {
    let at = (split * HEADS + head) * (HEAD_DIM + 2u);
    splits[at + column] = weighted_values;
    if column == 0u {
        splits[at + HEAD_DIM] = maximum;
        splits[at + HEAD_DIM + 1u] = sum;
    }
}
