// The gradient of h goes on through the activation: times its slopes, once for the gate and once for what it gates. Padding passes nothing, as its slopes are zero.

const SLOPE_QUADS: u32 = 772u;
const HALF_QUADS: u32 = 384u;

struct Step { first: u32, rows: u32, second: u32, site: u32, adds: u32 }
@group(0) @binding(1) var<uniform> step: Step;

fn masked(column: u32, values: vec4<f32>) -> vec4<f32> {
    return values;
}
// ---- end of parameters ----

@group(1) @binding(4) var<storage, read_write> d_up: array<vec4<f32>>;
@group(1) @binding(5) var<storage, read> slopes: array<vec4<f32>>;

fn write(row: u32, column: u32, values: vec4<f32>) {
    // Halves are padded one by one, with zeros.
    if column < 4u * HALF_QUADS {
        let at = row * SLOPE_QUADS + column / 4u;
        let d = masked(column, values);
        d_up[at] = passed(at, d);
        d_up[at + HALF_QUADS] = passed(at + HALF_QUADS, d);
    }
}

// Parts of the matrix add up, behind the activation as well as before it.
fn passed(at: u32, d: vec4<f32>) -> vec4<f32> {
    var sum = d * slopes[at];
    if step.adds != 0u {
        sum += d_up[at];
    }
    return sum;
}
