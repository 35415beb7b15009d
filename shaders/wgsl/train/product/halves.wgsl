// The features of an invocation are two neighbouring rows of the half that gates, and two of the half that is gated: so it has made both that belong
// together.

struct Step { first: u32, rows: u32, second: u32, site: u32, adds: u32 }
@group(0) @binding(1) var<uniform> step: Step;

fn weight(row: u32, quad: u32) -> vec4<f32> {
    return vec4<f32>(f32(row + quad));
}

fn second_weight(row: u32, quad: u32) -> vec4<f32> {
    return vec4<f32>(f32(row + quad));
}
// ---- end of parameters ----

// A row that does not exist is the last one once more, and its products are dropped.
fn feature_weight(owner: u32, j: u32, quad: u32) -> vec4<f32> {
    let row = min(owner * 2u + j % 2u, step.rows - 1u);
    if j < 2u {
        return weight(row, quad);
    }
    return second_weight(step.second + row, quad);
}
