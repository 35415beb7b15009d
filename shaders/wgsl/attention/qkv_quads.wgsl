// A row of queries, keys and values is read four columns at a time: every head begins at a multiple
// of four.

@group(1) @binding(0) var<storage, read> qkv: array<vec4<f32>>;

// Four columns, from `column` on, of the head at `at`.
fn qkv_quad(at: u32, column: u32) -> vec4<f32> {
    return qkv[(at + column) / 4u];
}
