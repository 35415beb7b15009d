// Stores the logits.

@group(0) @binding(2) var<storage, read_write> logits: array<f32>;

fn epilogue(r: u32, row: u32, local: u32, feature: u32) {
    logits[row * OUTPUTS + feature] = logit(output_sum(r, local));
}
