// As `roofline/read`, from a texture.

const WORKGROUP_SIZE: u32 = 256u;
// Texels that an invocation reads, and texels of a row.
const ITERATIONS: u32 = 16u;
const TEXTURE_WIDTH: u32 = 8192u;

@group(0) @binding(0) var x: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let first = (group.x * WORKGROUP_SIZE + invocation / 8u * 8u) * ITERATIONS + invocation % 8u;
    var sum = vec4<f32>(0.0);
    for (var iteration = 0u; iteration < ITERATIONS; iteration++) {
        let at = first + iteration * 8u;
        sum += textureLoad(x, vec2<u32>(at % TEXTURE_WIDTH, at / TEXTURE_WIDTH));
    }
    // Never true, since `x` is zero; the compiler does not know.
    if dot(sum, sum) > 1.0 {
        out[0] = sum.x;
    }
}
