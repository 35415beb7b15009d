// Sums over the rows for each column: gradients of biases and of norms. Four invocations share a
// column, and each sums every fourth row: neighbours read neighbouring elements, and the order is
// always the same.

var<workgroup> slices: array<vec2<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let column = group.x * 64u + invocation % 64u;
    var sums = vec2<f32>(0.0);
    if column < WIDTH {
        for (var row = invocation / 64u; row < pass_uniform.rows; row += 4u) {
            sums += column_term(row, column);
        }
    }
    slices[invocation] = sums;
    workgroupBarrier();
    if invocation < 64u && column < WIDTH {
        store_column(column, slices[invocation] + slices[invocation + 64u] + (slices[invocation + 128u] + slices[invocation + 192u]));
    }
}

// The new value of a gradient: the sum of this pass is added to the old value, or replaces it.
fn accumulated(before: f32, sum: f32) -> f32 {
    return select(before + sum, sum, pass_uniform.replace != 0u);
}
