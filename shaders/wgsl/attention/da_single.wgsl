// The gradient of what was attended to is read one element at a time: heads begin anywhere.

@group(1) @binding(3) var<storage, read> da: array<f32>;

// Columns `column ..` of the head at `at`; those that do not exist are zero.
fn da_quad(at: u32, column: u32) -> vec4<f32> {
    let last = at + HEAD_DIM - 1u;
    let own = vec4<u32>(column, column + 1u, column + 2u, column + 3u);
    let places = min(at + own, vec4<u32>(last));
    let values = vec4<f32>(da[places.x], da[places.y], da[places.z], da[places.w]);
    return select(vec4<f32>(0.0), values, own < vec4<u32>(HEAD_DIM));
}
