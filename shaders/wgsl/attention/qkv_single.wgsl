// A row of queries, keys and values is read one element at a time: heads begin anywhere.

@group(1) @binding(0) var<storage, read> qkv: array<f32>;

// Four columns, from `column` on, of the head at `at`; those beyond the head are zero.
fn qkv_quad(at: u32, column: u32) -> vec4<f32> {
    let places = head_places(at, column);
    return head_columns(column, vec4<f32>(qkv[places.x], qkv[places.y], qkv[places.z], qkv[places.w]));
}
