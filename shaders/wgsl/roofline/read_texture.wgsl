// As `read`, from a texture.

const LANES: u32 = 256u;
// Texels that an invocation reads, and those of a row.
const TURNS: u32 = 16u;
const TEXTURE_WIDTH: u32 = 8192u;

@group(0) @binding(0) var source: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = (group.x * LANES + lane / 8u * 8u) * TURNS + lane % 8u;
    var sum = vec4<f32>(0.0);
    for (var turn = 0u; turn < TURNS; turn++) {
        let at = first + turn * 8u;
        sum += textureLoad(source, vec2<u32>(at % TEXTURE_WIDTH, at / TEXTURE_WIDTH));
    }
    // Never so, as the source is zero; but the compiler cannot know.
    if dot(sum, sum) > 1.0 {
        result[0] = sum.x;
    }
}
