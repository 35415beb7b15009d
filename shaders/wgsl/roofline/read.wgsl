// Reads a buffer from its beginning to its end, and does next to nothing with it: what comes in a second is what the device can read. Eight neighbours go through it side by
// side, as through a panel of a matrix.

const LANES: u32 = 256u;
// Elements that an invocation reads.
const TURNS: u32 = 16u;

@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = (group.x * LANES + lane / 8u * 8u) * TURNS + lane % 8u;
    var sum = vec4<f32>(0.0);
    for (var turn = 0u; turn < TURNS; turn++) {
        sum += source[first + turn * 8u];
    }
    // Never so, as the source is zero; but the compiler cannot know.
    if dot(sum, sum) > 1.0 {
        result[0] = sum.x;
    }
}
