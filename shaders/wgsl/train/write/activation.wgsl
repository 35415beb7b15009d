// h = activation(y), and its slope there for the way back.

const WIDTH: u32 = 3072u;
// Quads from a row of h, and of the slopes, to the next.
const OUT_QUADS: u32 = 772u;
const SLOPE_QUADS: u32 = 772u;

struct Step { first: u32, rows: u32, second: u32, site: u32, adds: u32 }
@group(0) @binding(1) var<uniform> step: Step;

fn bias(feature: u32) -> vec4<f32> {
    return vec4<f32>(0.0);
}

fn masked(column: u32, values: vec4<f32>) -> vec4<f32> {
    return values;
}

fn activation(x: f32) -> f32 {
    return x;
}

fn slope(x: f32) -> f32 {
    return 1.0;
}
// ---- end of parameters ----

@group(1) @binding(4) var<storage, read_write> h: array<vec4<f32>>;
@group(1) @binding(5) var<storage, read_write> slopes: array<vec4<f32>>;

fn write(row: u32, local: u32, values: vec4<f32>) {
    let feature = step.first + local;
    if feature < WIDTH {
        let u = values + bias(feature);
        let bent = vec4<f32>(activation(u.x), activation(u.y), activation(u.z), activation(u.w));
        let steep = vec4<f32>(slope(u.x), slope(u.y), slope(u.z), slope(u.w));
        h[row * OUT_QUADS + feature / 4u] = masked(feature, bent);
        slopes[row * SLOPE_QUADS + feature / 4u] = masked(feature, steep);
    }
}
