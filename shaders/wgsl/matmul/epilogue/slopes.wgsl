// Passes the gradient of a hidden layer back through the activation: multiplies it by the slopes of
// the activation. The slopes of padding are zero.

@group(1) @binding(4) var<storage, read_write> d_up: array<vec4<f32>>;
@group(1) @binding(5) var<storage, read> slopes: array<vec4<f32>>;

// If the matrix has parts, their results are added. They may be added after the multiplication by
// the slopes, because it is linear.
fn through_slopes(at: u32, d: vec4<f32>) -> vec4<f32> {
    var sum = d * slopes[at];
    if step_uniform.adds != 0u {
        sum += d_up[at];
    }
    return sum;
}
