// The gradient of queries and keys before their norm, as in `norm/backward/input`, for each group.
// The gradient of the values is copied.

@group(1) @binding(0) var<storage, read> x: array<f32>;
@group(1) @binding(2) var<storage, read> dy: array<f32>;
@group(1) @binding(3) var<storage, read> stats: array<vec2<f32>>;
@group(1) @binding(4) var<storage, read_write> out: array<f32>;

fn work(group: vec3<u32>, invocation: u32) {
    let is_query = group.x < Q_GROUPS;
    let width = select(K_GROUP, Q_GROUP, is_query);
    let start = select(Q_WIDTH + (group.x - Q_GROUPS) * K_GROUP, group.x * Q_GROUP, is_query);
    let row = group.y * QKV_STRIDE;
    if group.x >= Q_GROUPS + K_GROUPS {
        for (var i = start + invocation; i < start + width; i += WORKGROUP_SIZE) {
            out[row + i] = dy[row + i];
        }
        return;
    }
    let own = stats[group.y * (Q_GROUPS + K_GROUPS) + group.x];
    var sum = 0.0;
    var along = 0.0;
    for (var i = start + invocation; i < start + width; i += WORKGROUP_SIZE) {
        let g = gamma(parameter(i)) * dy[row + i];
        sum += g;
        along = fma(g, (x[row + i] - own.x) * own.y, along);
    }
    let mean = CENTERED * row_sum(invocation, sum) / f32(width);
    along = row_sum(invocation, along) / f32(width);
    for (var i = start + invocation; i < start + width; i += WORKGROUP_SIZE) {
        let g = gamma(parameter(i)) * dy[row + i];
        let normal = (x[row + i] - own.x) * own.y;
        out[row + i] = (g - mean - normal * along) * own.y;
    }
}
