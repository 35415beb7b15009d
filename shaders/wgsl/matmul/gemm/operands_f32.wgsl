// The operands of a product as they are.

// By depth.
var<workgroup> left: array<Rows, 64>;

// Rows `4 quarter ..` of step `i`.
fn put(i: u32, quarter: u32, four: vec4<f32>) {
    left[i][quarter] = four;
}

fn staged(i: u32) -> Rows {
    return left[i];
}

fn staged_four(i: u32, quarter: u32) -> vec4<f32> {
    return left[i][quarter];
}

// The operand that does not come through workgroup memory.
fn own(values: vec4<f32>) -> vec4<f32> {
    return values;
}
