// out = residual + BRANCH_SCALE * drop(y).

@group(1) @binding(4) var<storage, read_write> out: array<vec4<f32>>;
@group(1) @binding(5) var<storage, read> residual: array<vec4<f32>>;

fn store_quad(row: u32, local: u32, values: vec4<f32>) {
    let feature = step_uniform.first + local;
    if feature < WIDTH {
        let at = row * OUT_QUADS + feature / 4u;
        let index = row * WIDTH + feature;
        let keep_scale = vec4<f32>(dropout_scale(index), dropout_scale(index + 1u), dropout_scale(index + 2u), dropout_scale(index + 3u));
        out[at] = residual[at] + zero_padding(feature, BRANCH_SCALE * keep_scale * (values + bias_quad(feature)));
    }
}
