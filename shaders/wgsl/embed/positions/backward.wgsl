// d(positions)[t] += dx of that position in every sequence. A workgroup computes a position.

@group(1) @binding(0) var<storage, read> dx: array<f32>;
@group(1) @binding(1) var<storage, read_write> d_positions: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    for (var i = invocation; i < EMBED; i += WORKGROUP_SIZE) {
        var sum = d_positions[group.y * EMBED + i];
        for (var row = group.y; row < pass_uniform.rows; row += pass_uniform.tokens) {
            sum += dx[row * EMBED_STRIDE + i];
        }
        d_positions[group.y * EMBED + i] = sum;
    }
}
