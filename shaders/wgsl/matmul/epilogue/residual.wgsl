// out = x + BRANCH_SCALE * y. The stream is read from one buffer and written to another: in a
// post-norm block the residual passes through a norm, which reads a whole row while other
// workgroups write their columns of it.

@group(0) @binding(2) var<storage, read_write> out: array<f32>;

fn epilogue(r: u32, row: u32, local: u32, feature: u32) {
    let residual = normalize(r, stream(row, feature), affine(feature));
    out[row * EMBED + feature] = residual + BRANCH_SCALE * (output_sum(r, local) + bias(feature));
}
