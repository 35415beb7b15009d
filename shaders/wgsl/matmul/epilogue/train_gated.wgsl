// h = activation(gate) * up. The derivatives of h with respect to gate and up are saved for the
// backward pass. An invocation has two gates and the two features that they gate.

@group(1) @binding(4) var<storage, read_write> h: array<vec2<f32>>;
@group(1) @binding(5) var<storage, read_write> slopes: array<vec2<f32>>;

fn epilogue(row: u32, owner: u32, values: vec4<f32>) {
    let feature = step_uniform.first + owner * 2u;
    // Each half is padded with zeros.
    if feature < HALF {
        let exists = feature + vec2<u32>(0u, 1u) < vec2<u32>(WIDTH);
        let gate = values.xy + bias_quad(feature).xy;
        let up = values.zw + bias_quad(WIDTH + feature).xy;
        let activated = select(vec2<f32>(0.0), vec2<f32>(activation(gate.x), activation(gate.y)), exists);
        let slope_values = select(vec2<f32>(0.0), vec2<f32>(slope(gate.x), slope(gate.y)), exists);
        h[(row * OUT_STRIDE + feature) / 2u] = activated * up;
        let at = row * SLOPE_STRIDE + feature;
        slopes[at / 2u] = slope_values * up;
        slopes[(at + HALF) / 2u] = activated;
    }
}
