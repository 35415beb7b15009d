// h = activation(gate) * up. Strips of the two halves alternate, so that a workgroup has made both.

// Width of the output.
const OUTPUTS: u32 = 1536u;

struct Run { position: u32, rows: u32, first: u32 }
@group(0) @binding(0) var<uniform> run: Run;

fn total(r: u32, local: u32) -> f32 {
    return f32(r + local);
}

fn bias(feature: u32) -> f32 {
    return 0.0;
}

fn activation(x: f32) -> f32 {
    return x;
}
// ---- end of parameters ----

@group(0) @binding(2) var<storage, read_write> h: array<f32>;

fn finish(r: u32, row: u32, local: u32, feature: u32) {
    let at = local / 32u * 64u + local % 32u;
    let gate = total(r, at) + bias(feature);
    let up = total(r, at + 32u) + bias(OUTPUTS + feature);
    h[row * OUTPUTS + feature] = activation(gate) * up;
}
