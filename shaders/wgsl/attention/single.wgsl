// Four columns of a head that begins anywhere.

// Addresses of four columns, from `column` on, of the head at `at`. Columns beyond the last are
// clamped to it.
fn head_places(at: u32, column: u32) -> vec4<u32> {
    let own = vec4<u32>(column, column + 1u, column + 2u, column + 3u);
    return min(at + own, vec4<u32>(at + HEAD_DIM - 1u));
}

// `values` of four columns, from `column` on, with zeros beyond the head.
fn head_columns(column: u32, values: vec4<f32>) -> vec4<f32> {
    let own = vec4<u32>(column, column + 1u, column + 2u, column + 3u);
    return select(vec4<f32>(0.0), values, own < vec4<u32>(HEAD_DIM));
}
