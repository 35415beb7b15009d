// Stores the logits, a branch before its norm, or queries, keys and values before theirs.

@group(0) @binding(2) var<storage, read_write> product: array<f32>;

fn epilogue(r: u32, row: u32, local: u32, feature: u32) {
    product[row * OUTPUTS + feature] = logit(output_sum(r, local) + bias(feature));
}
