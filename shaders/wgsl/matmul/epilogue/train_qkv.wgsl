// Queries and keys are turned by their position, values stay as they are.

@group(1) @binding(4) var<storage, read_write> qkv: array<vec4<f32>>;

fn write(row: u32, local: u32, values: vec4<f32>) {
    let feature = step.first + local;
    if feature < WIDTH {
        let all = values + bias(feature);
        let position = row % run.tokens;
        // Heads begin at even features, but not always at whole quads.
        let pairs = vec4<f32>(
            rotated(position, feature, all.xy),
            rotated(position, feature + 2u, all.zw),
        );
        qkv[row * OUT_QUADS + feature / 4u] = masked(feature, pairs);
    }
}

fn rotated(position: u32, feature: u32, pair: vec2<f32>) -> vec2<f32> {
    if feature >= TURNED {
        return pair;
    }
    return turned(position, feature % HEAD_DIM, pair, 1.0);
}
