// The operands of a product rounded to f16: they take half the workgroup memory. They are multiplied as f32, which holds the product of two f16
// exactly, and so are the sums.

// By depth.
var<workgroup> staged_operand: array<mat4x4<f16>, 64>;

// Rows `4 quarter ..` of step `i`.
fn stage_rows(i: u32, quarter: u32, four: vec4<f32>) {
    staged_operand[i][quarter] = to_f16(four);
}

fn staged_rows(i: u32) -> Rows {
    let rows = staged_operand[i];
    return Rows(vec4<f32>(rows[0]), vec4<f32>(rows[1]), vec4<f32>(rows[2]), vec4<f32>(rows[3]));
}

fn staged_quad(i: u32, quarter: u32) -> vec4<f32> {
    return vec4<f32>(staged_operand[i][quarter]);
}

// The operand that does not come through workgroup memory.
fn round_operand(values: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(to_f16(values));
}

// A device may round what is too large to the largest f16, and nobody would see that a gradient overflowed; so it is made infinite before.
fn to_f16(values: vec4<f32>) -> vec4<f16> {
    return vec4<f16>(select(values, values * 3.4e38, abs(values) > vec4<f32>(65504.0)));
}
