// Reads a buffer or a texture from beginning to end, to measure bandwidth. Eight neighbours read
// side by side, as in a panel of a matrix.

const WORKGROUP_SIZE: u32 = 256u;
// Elements that an invocation reads.
const ITERATIONS: u32 = 16u;

@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let first = (group.x * WORKGROUP_SIZE + invocation / 8u * 8u) * ITERATIONS + invocation % 8u;
    var sum = vec4<f32>(0.0);
    for (var iteration = 0u; iteration < ITERATIONS; iteration++) {
        sum += element(first + iteration * 8u);
    }
    // Never true, since `x` is zero; the compiler does not know.
    if dot(sum, sum) > 1.0 {
        out[0] = sum.x;
    }
}
