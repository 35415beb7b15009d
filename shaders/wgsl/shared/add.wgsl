// The gradient of rows that two steps read: the sum of both gradients. A workgroup computes a row.

@group(1) @binding(0) var<storage, read> dy: array<f32>;
@group(1) @binding(4) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    for (var i = invocation; i < EMBED; i += WORKGROUP_SIZE) {
        let at = group.y * EMBED_STRIDE + i;
        out[at] += dy[at];
    }
}
