// The gradient of a stream that was read bare: what comes back along it, and from what read it. A row to a workgroup.

@group(1) @binding(0) var<storage, read> dy: array<f32>;
@group(1) @binding(4) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    for (var i = lane; i < EMBED; i += LANES) {
        let at = group.y * EMBED_STRIDE + i;
        out[at] += dy[at];
    }
}
