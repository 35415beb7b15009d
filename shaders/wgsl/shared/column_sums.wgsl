// Sums over the rows, for each column: gradients of biases, and of what a norm scales and shifts by. Four invocations share a column, each has every
// fourth row; so neighbours read neighbouring elements, and the order is always the same.

var<workgroup> slices: array<vec2<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.x * 64u + lane % 64u;
    var sums = vec2<f32>(0.0);
    if column < WIDTH {
        for (var row = lane / 64u; row < run.rows; row += 4u) {
            sums += term(row, column);
        }
    }
    slices[lane] = sums;
    workgroupBarrier();
    if lane < 64u && column < WIDTH {
        keep(column, slices[lane] + slices[lane + 64u] + (slices[lane + 128u] + slices[lane + 192u]));
    }
}

// What becomes of a gradient.
fn learned(before: f32, sum: f32) -> f32 {
    return select(before + sum, sum, run.replace != 0u);
}
