// A row of the gradient of the attention output is read one element at a time: heads begin
// anywhere.

@group(1) @binding(3) var<storage, read> da: array<f32>;

// Four columns, from `column` on, of the head at `at`; those beyond the head are zero.
fn da_quad(at: u32, column: u32) -> vec4<f32> {
    let places = head_places(at, column);
    return head_columns(column, vec4<f32>(da[places.x], da[places.y], da[places.z], da[places.w]));
}
