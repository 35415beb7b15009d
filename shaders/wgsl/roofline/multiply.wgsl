// Multiplies and adds in registers, in 32 independent chains per invocation, to measure arithmetic
// throughput.

const WORKGROUP_SIZE: u32 = 256u;
// Steps of each chain.
const ITERATIONS: u32 = 128u;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    // `x` is zero, which the compiler does not know. The chains converge to 1, far from
    // subnormal numbers.
    let by = x[invocation] + 0.999;
    let add = x[invocation] + 0.001;
    var a = add;
    var b = add + 0.1;
    var c = add + 0.2;
    var d = add + 0.3;
    var e = add + 0.4;
    var f = add + 0.5;
    var g = add + 0.6;
    var h = add + 0.7;
    for (var iteration = 0u; iteration < ITERATIONS; iteration++) {
        a = fma(a, by, add);
        b = fma(b, by, add);
        c = fma(c, by, add);
        d = fma(d, by, add);
        e = fma(e, by, add);
        f = fma(f, by, add);
        g = fma(g, by, add);
        h = fma(h, by, add);
    }
    let sum = a + b + c + d + e + f + g + h;
    if dot(sum, sum) > 1e9 {
        out[0] = sum.x;
    }
}
