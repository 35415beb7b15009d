// A row of queries, keys and values is read one element at a time: heads begin anywhere.

@group(1) @binding(0) var<storage, read> qkv: array<f32>;

// Columns `column ..` of the head at `at`; those that do not exist are zero.
fn qkv_quad(at: u32, column: u32) -> vec4<f32> {
    let last = at + HEAD_DIM - 1u;
    let own = vec4<u32>(column, column + 1u, column + 2u, column + 3u);
    let places = min(at + own, vec4<u32>(last));
    let values = vec4<f32>(qkv[places.x], qkv[places.y], qkv[places.z], qkv[places.w]);
    return select(vec4<f32>(0.0), values, own < vec4<u32>(HEAD_DIM));
}
