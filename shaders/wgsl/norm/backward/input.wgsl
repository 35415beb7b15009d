// The gradient of a norm's input. The mean and the deviation depend on the whole row. So, with
// x' = (x - mean) / deviation and g = gamma dy, dx = (g - mean(g) - x' mean(g x')) / deviation.
// RMSNorm has no mean to subtract.

@group(1) @binding(0) var<storage, read> x: array<f32>;
@group(1) @binding(2) var<storage, read> dy: array<f32>;
@group(1) @binding(3) var<storage, read> stats: array<vec2<f32>>;
@group(1) @binding(4) var<storage, read_write> out: array<f32>;

// An invocation writes only elements that it alone has read, so `out` may hold the gradient of a
// residual connection, which is added.
fn work(group: vec3<u32>, invocation: u32) {
    let start = group.y * EMBED_STRIDE;
    let own = stats[group.y];
    var sum = 0.0;
    var along = 0.0;
    for (var i = invocation; i < EMBED; i += WORKGROUP_SIZE) {
        let at = start + i;
        let g = gamma(i) * dy[at];
        sum += g;
        along = fma(g, (x[at] - own.x) * own.y, along);
    }
    let mean = CENTERED * row_sum(invocation, sum) / f32(EMBED);
    along = row_sum(invocation, along) / f32(EMBED);
    for (var i = invocation; i < EMBED; i += WORKGROUP_SIZE) {
        let at = start + i;
        let g = gamma(i) * dy[at];
        let normal = (x[at] - own.x) * own.y;
        out[at] = dx_residual(at) + (g - mean - normal * along) * own.y;
    }
}
