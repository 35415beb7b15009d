// Operands are f32.

// By step of the depth.
var<workgroup> staged_operand: array<Rows, 64>;

// Stores rows `4 quarter ..` of step `i`.
fn stage_rows(i: u32, quarter: u32, four: vec4<f32>) {
    staged_operand[i][quarter] = four;
}

fn staged_rows(i: u32) -> Rows {
    return staged_operand[i];
}

fn staged_quad(i: u32, quarter: u32) -> vec4<f32> {
    return staged_operand[i][quarter];
}

// The operand that is not staged.
fn round_operand(values: vec4<f32>) -> vec4<f32> {
    return values;
}
