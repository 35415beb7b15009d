// Queries and keys are turned by their position, values stay as they are.

const WIDTH: u32 = 2304u;
const OUT_QUADS: u32 = 580u;
// Width of queries and keys together, and of a head.
const TURNED: u32 = 1536u;
const HEAD_DIM: u32 = 64u;

struct Run { tokens: u32, rows: u32, first: u32, replace: u32, scale: f32, key: u32, threshold: u32, keep: f32 }
@group(0) @binding(0) var<uniform> run: Run;
struct Step { first: u32, rows: u32, second: u32, site: u32, adds: u32 }
@group(0) @binding(1) var<uniform> step: Step;

fn bias(feature: u32) -> vec4<f32> {
    return vec4<f32>(0.0);
}

fn masked(column: u32, values: vec4<f32>) -> vec4<f32> {
    return values;
}

fn turned(position: u32, column: u32, pair: vec2<f32>, direction: f32) -> vec2<f32> {
    return pair;
}
// ---- end of parameters ----

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
