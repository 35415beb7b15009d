// x = x + y. The stream is read from one buffer and written to another: in a post-norm block the residual passes through a norm,
// which needs a whole row while other workgroups write theirs.

const EMBED: u32 = 768u;

struct Run { position: u32, rows: u32, first: u32 }
@group(0) @binding(0) var<uniform> run: Run;

fn total(r: u32, local: u32) -> f32 {
    return f32(r + local);
}

fn bias(feature: u32) -> f32 {
    return 0.0;
}

fn stream(row: u32, column: u32) -> f32 {
    return f32(row + column);
}

fn affine(column: u32) -> vec2<f32> {
    return vec2<f32>(1.0, 0.0);
}

fn normalise(r: u32, x: f32, by: vec2<f32>) -> f32 {
    return x;
}
// ---- end of parameters ----

@group(0) @binding(2) var<storage, read_write> sum: array<f32>;

fn finish(r: u32, row: u32, local: u32, feature: u32) {
    let residual = normalise(r, stream(row, feature), affine(feature));
    sum[row * EMBED + feature] = residual + total(r, local) + bias(feature);
}
