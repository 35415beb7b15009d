// Queries and keys are rotated, values are not.

@group(1) @binding(4) var<storage, read_write> qkv: array<vec4<f32>>;

fn store_quad(row: u32, local: u32, values: vec4<f32>) {
    let feature = step_uniform.first + local;
    if feature < WIDTH {
        let all = values + bias_quad(feature);
        let position = row % pass_uniform.tokens;
        // Heads begin at even features, but not always at whole quads.
        let pairs = vec4<f32>(
            rotate_unless_value(position, feature, all.xy),
            rotate_unless_value(position, feature + 2u, all.zw),
        );
        qkv[row * OUT_QUADS + feature / 4u] = zero_padding(feature, pairs);
    }
}

fn rotate_unless_value(position: u32, feature: u32, pair: vec2<f32>) -> vec2<f32> {
    if feature >= ROTATED_WIDTH {
        return pair;
    }
    return rotate_pair(position, feature % HEAD_DIM, pair, 1.0);
}
