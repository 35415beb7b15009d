// out = residual + drop(y).

const WIDTH: u32 = 768u;
const OUT_QUADS: u32 = 196u;

struct Step { first: u32, rows: u32, second: u32, site: u32, adds: u32 }
@group(0) @binding(1) var<uniform> step: Step;

fn bias(feature: u32) -> vec4<f32> {
    return vec4<f32>(0.0);
}

fn masked(column: u32, values: vec4<f32>) -> vec4<f32> {
    return values;
}

fn factor(index: u32) -> f32 {
    return 1.0;
}
// ---- end of parameters ----

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
