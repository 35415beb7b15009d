// The gradient of a hidden layer passes through the activation: times its slopes. The slopes of
// padding are zero.

@group(1) @binding(4) var<storage, read_write> d_up: array<vec4<f32>>;
@group(1) @binding(5) var<storage, read> slopes: array<vec4<f32>>;

// Parts of the matrix add up, after the activation as well as before it.
fn through_slopes(at: u32, d: vec4<f32>) -> vec4<f32> {
    var sum = d * slopes[at];
    if step_uniform.adds != 0u {
        sum += d_up[at];
    }
    return sum;
}
