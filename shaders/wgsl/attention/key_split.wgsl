// A workgroup attends to a split of the keys. `attention/merge_splits` merges the splits; for this,
// their maxima and sums of weights are stored too.

// [split][head]: HEAD_DIM sums of weighted values, the maximum, the sum of the weights.
@group(0) @binding(2) var<storage, read_write> split_sums: array<f32>;

// The range of keys of split `split`. There are `keys` keys in all.
fn key_range(split: u32, keys: u32) -> vec2<u32> {
    return vec2<u32>(split * SPLIT_KEYS, min((split + 1u) * SPLIT_KEYS, keys));
}

// Stores a column of the weighted values and, with the first column, the maximum of the scores and
// the sum of the weights.
fn store_output(split: u32, row: u32, head: u32, column: u32, weighted_values: f32, sum: f32, maximum: f32) {
    let at = (split * HEADS + head) * (HEAD_DIM + 2u);
    split_sums[at + column] = weighted_values;
    if column == 0u {
        split_sums[at + HEAD_DIM] = maximum;
        split_sums[at + HEAD_DIM + 1u] = sum;
    }
}
