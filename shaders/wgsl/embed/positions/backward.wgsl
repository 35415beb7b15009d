// d(positions)[t] += dx of that position in every sequence, one position to a workgroup along y.

@group(1) @binding(0) var<storage, read> dx: array<f32>;
@group(1) @binding(1) var<storage, read_write> d_positions: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    for (var i = lane; i < EMBED; i += LANES) {
        var sum = d_positions[group.y * EMBED + i];
        for (var row = group.y; row < run.rows; row += run.tokens) {
            sum += dx[row * EMBED_STRIDE + i];
        }
        d_positions[group.y * EMBED + i] = sum;
    }
}
