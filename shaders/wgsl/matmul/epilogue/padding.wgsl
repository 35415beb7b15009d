// Rows are padded at least to a whole number of quads; the padding stays zero.

fn zero_padding(column: u32, values: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(0.0), values, column + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(WIDTH));
}
