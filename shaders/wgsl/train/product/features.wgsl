// The features of an invocation are four neighbouring rows of the matrix.

struct Step { first: u32, rows: u32, second: u32, site: u32, adds: u32 }
@group(0) @binding(1) var<uniform> step: Step;

fn weight(row: u32, quad: u32) -> vec4<f32> {
    return vec4<f32>(f32(row + quad));
}
// ---- end of parameters ----

// A row that does not exist is the last one once more, and its products are dropped.
fn feature_weight(owner: u32, j: u32, quad: u32) -> vec4<f32> {
    return weight(min(owner * 4u + j, step.rows - 1u), quad);
}
