// Nothing follows: logits, or the gradient of a layer's input. Parts of a matrix are multiplied one after the other: those of a gradient add
// up, those of logits stand side by side.

// Width of the output, and quads from one of its rows to the next.
const WIDTH: u32 = 768u;
const OUT_QUADS: u32 = 196u;
// Whether a part of the matrix makes columns of its own.
const BESIDE: bool = false;

struct Step { first: u32, rows: u32, second: u32, site: u32, adds: u32 }
@group(0) @binding(1) var<uniform> step: Step;

fn output_row(row: u32) -> u32 {
    return row;
}

fn masked(column: u32, values: vec4<f32>) -> vec4<f32> {
    return values;
}
// ---- end of parameters ----

@group(1) @binding(4) var<storage, read_write> out: array<vec4<f32>>;

fn write(row: u32, local: u32, values: vec4<f32>) {
    let column = local + select(0u, step.first, BESIDE);
    if column >= WIDTH {
        return;
    }
    let at = output_row(row) * OUT_QUADS + column / 4u;
    var sum = masked(column, values);
    if step.adds != 0u {
        sum += out[at];
    }
    out[at] = sum;
}
