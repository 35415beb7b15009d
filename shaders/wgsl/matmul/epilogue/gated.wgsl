// h = activation(gate) * up. Strips of the two halves alternate, so that a workgroup has made both.

@group(0) @binding(2) var<storage, read_write> h: array<f32>;

fn finish(r: u32, row: u32, local: u32, feature: u32) {
    let at = local / 32u * 64u + local % 32u;
    let gate = total(r, at) + bias(feature);
    let up = total(r, at + 32u) + bias(OUTPUTS + feature);
    h[row * OUTPUTS + feature] = activation(gate) * up;
}
