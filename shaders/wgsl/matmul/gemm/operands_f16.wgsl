// Operands are rounded to f16, which halves the workgroup memory. Products and sums are f32; an f32
// holds the product of two f16 exactly.

// By step of the depth.
var<workgroup> staged_operand: array<mat4x4<f16>, 64>;

// Stores rows `4 quarter ..` of step `i`.
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

// Rounds the operand that is not staged.
fn round_operand(values: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(to_f16(values));
}

// Overflow becomes infinity: a device may round to the largest f16 instead, which would hide that a
// gradient has overflowed.
fn to_f16(values: vec4<f32>) -> vec4<f16> {
    return vec4<f16>(select(values, values * 3.4e38, abs(values) > vec4<f32>(65504.0)));
}
