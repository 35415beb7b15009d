// h = activation(y).

@group(0) @binding(2) var<storage, read_write> h: array<f32>;

fn epilogue(r: u32, row: u32, local: u32, feature: u32) {
    h[row * OUTPUTS + feature] = activation(output_sum(r, local) + bias(feature));
}
