// h = activation(y); its slopes are saved for the backward pass.

@group(1) @binding(4) var<storage, read_write> h: array<vec4<f32>>;
@group(1) @binding(5) var<storage, read_write> slopes: array<vec4<f32>>;

fn store_quad(row: u32, local: u32, values: vec4<f32>) {
    let feature = step_uniform.first + local;
    if feature < WIDTH {
        let u = values + bias_quad(feature);
        let activated = vec4<f32>(activation(u.x), activation(u.y), activation(u.z), activation(u.w));
        let slope_values = vec4<f32>(slope(u.x), slope(u.y), slope(u.z), slope(u.w));
        h[row * OUT_QUADS + feature / 4u] = zero_padding(feature, activated);
        slopes[row * SLOPE_QUADS + feature / 4u] = zero_padding(feature, slope_values);
    }
}
