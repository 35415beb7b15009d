// out = (x - mean) / deviation * gamma + beta, a row to a workgroup.

const EMBED: u32 = 768u;
const EMBED_STRIDE: u32 = 784u;
const LANES: u32 = 64u;

fn row_statistics(row: u32, lane: u32) -> vec2<f32> {
    return vec2<f32>(0.0, 1.0);
}

fn shift(column: u32) -> f32 {
    return 0.0;
}
// ---- end of parameters ----

@group(1) @binding(0) var<storage, read> x: array<f32>;
@group(1) @binding(1) var<storage, read> gamma: array<f32>;
@group(1) @binding(4) var<storage, read_write> out: array<f32>;

fn work(group: vec3<u32>, lane: u32) {
    let at = group.y * EMBED_STRIDE;
    let own = row_statistics(group.y, lane);
    for (var i = lane; i < EMBED; i += LANES) {
        out[at + i] = fma((x[at + i] - own.x) * own.y, gamma[i], shift(i));
    }
}
