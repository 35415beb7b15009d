// The elements of `roofline/read` in a buffer.

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;

fn element(at: u32) -> vec4<f32> {
    return x[at];
}
