// Sixteen rows of inputs: a matrix times a matrix. A workgroup has eight invocations for each of
// its strips. This file reads inputs and sums a norm's statistics. `matmul/tile/prefill_sums`
// passes the sums to the epilogue, and `matmul/tile/prefill_single` computes them; variants replace
// both.

// Each invocation computes four features of sixteen rows.
const WORKGROUP_SIZE: u32 = 8u * TILE_N;
// Invocations that compute the norm's statistics of a row.
const ROW_INVOCATIONS: u32 = WORKGROUP_SIZE / 16u;
// Iterations that store the sums, one feature of each invocation at a time.
const ITERATIONS: u32 = 4u;
// Output features of an iteration.
const FEATURES: u32 = WORKGROUP_SIZE / HALVES;

var<workgroup> partial_sums: array<f32, WORKGROUP_SIZE>;

// The sum over the invocations that share a row, for all of them.
fn row_sum(invocation: u32, value: f32) -> f32 {
    partial_sums[invocation] = value;
    workgroupBarrier();
    let start = invocation / ROW_INVOCATIONS * ROW_INVOCATIONS;
    var sum = 0.0;
    for (var i = 0u; i < ROW_INVOCATIONS; i++) {
        sum += partial_sums[start + i];
    }
    workgroupBarrier();
    return sum;
}

// Four rows of a column, from row `r` of the tile on.
fn inputs(r: u32, first: u32, column: u32, scale_shift: vec2<f32>) -> vec4<f32> {
    return vec4<f32>(
        input(r, first + r, column, scale_shift),
        input(r + 1u, first + r + 1u, column, scale_shift),
        input(r + 2u, first + r + 2u, column, scale_shift),
        input(r + 3u, first + r + 3u, column, scale_shift),
    );
}
