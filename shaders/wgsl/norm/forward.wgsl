// out = (x - mean) / deviation * gamma + beta, or its sum with a residual. A workgroup computes a
// row.

@group(1) @binding(0) var<storage, read> x: array<f32>;
@group(1) @binding(4) var<storage, read_write> out: array<f32>;

fn work(group: vec3<u32>, invocation: u32) {
    let at = group.y * EMBED_STRIDE;
    let own = row_statistics(group.y, invocation);
    for (var i = invocation; i < EMBED; i += WORKGROUP_SIZE) {
        let normal = fma((x[at + i] - own.x) * own.y, gamma(i), beta(i));
        out[at + i] = with_residual(group.y, i, normal);
    }
}
