// h = activation(gate) * up. Strips of the two halves alternate, so a workgroup has both.

@group(0) @binding(2) var<storage, read_write> h: array<f32>;

fn epilogue(r: u32, row: u32, local: u32, feature: u32) {
    let at = local / 32u * 64u + local % 32u;
    let gate = output_sum(r, at) + bias(feature);
    let up = output_sum(r, at + 32u) + bias(OUTPUTS + feature);
    h[row * OUTPUTS + feature] = activation(gate) * up;
}
