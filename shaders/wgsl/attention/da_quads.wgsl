// A row of the gradient of the attention output is read four columns at a time: every head begins
// at a multiple of four.

@group(1) @binding(3) var<storage, read> da: array<vec4<f32>>;

// Four columns, from `column` on, of the head at `at`.
fn da_quad(at: u32, column: u32) -> vec4<f32> {
    return da[(at + column) / 4u];
}
