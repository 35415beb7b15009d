// h = activation(gate) * up; for the way back, by how much h changes with the gate, and by how much with what it gates.

const WIDTH: u32 = 1536u;
// Where the second half begins among the slopes, in quads.
const HALF_QUADS: u32 = 384u;
const OUT_QUADS: u32 = 388u;
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

fn finish(row: u32, tile: u32, quad: u32, low: vec4<f32>, high: vec4<f32>) {
    let feature = step.first + tile * 32u + quad * 4u;
    // Halves are padded one by one, with zeros.
    if feature < 4u * HALF_QUADS {
        let gate = low + bias(feature);
        let up = high + bias(WIDTH + feature);
        let bent = vec4<f32>(activation(gate.x), activation(gate.y), activation(gate.z), activation(gate.w));
        let steep = vec4<f32>(slope(gate.x), slope(gate.y), slope(gate.z), slope(gate.w));
        h[row * OUT_QUADS + feature / 4u] = masked(feature, bent * up);
        let at = row * SLOPE_QUADS + feature / 4u;
        slopes[at] = masked(feature, steep * up);
        slopes[at + HALF_QUADS] = masked(feature, bent);
    }
}
