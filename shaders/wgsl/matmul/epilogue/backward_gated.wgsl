// The gradient of h goes on through the activation: times its slopes, once for the gate and once for what it gates. Padding passes nothing, as its slopes are zero.

@group(1) @binding(4) var<storage, read_write> d_up: array<vec4<f32>>;
@group(1) @binding(5) var<storage, read> slopes: array<vec4<f32>>;

fn store_quad(row: u32, column: u32, values: vec4<f32>) {
    // Halves are padded one by one, with zeros.
    if column < 4u * HALF_QUADS {
        let at = row * SLOPE_QUADS + column / 4u;
        let d = zero_padding(column, values);
        d_up[at] = through_slopes(at, d);
        d_up[at + HALF_QUADS] = through_slopes(at + HALF_QUADS, d);
    }
}

// Parts of the matrix add up, behind the activation as well as before it.
fn through_slopes(at: u32, d: vec4<f32>) -> vec4<f32> {
    var sum = d * slopes[at];
    if step_uniform.adds != 0u {
        sum += d_up[at];
    }
    return sum;
}
