// out = residual + drop(y).

@group(1) @binding(4) var<storage, read_write> out: array<vec4<f32>>;
@group(1) @binding(5) var<storage, read> residual: array<vec4<f32>>;

fn write(row: u32, local: u32, values: vec4<f32>) {
    let feature = step.first + local;
    if feature < WIDTH {
        let at = row * OUT_QUADS + feature / 4u;
        let index = row * WIDTH + feature;
        let kept = vec4<f32>(factor(index), factor(index + 1u), factor(index + 2u), factor(index + 3u));
        out[at] = residual[at] + masked(feature, kept * (values + bias(feature)));
    }
}
