// Sixteen rows of inputs: a matrix times a matrix. A workgroup has 8 invocations to a strip. This
// file reads inputs and sums a norm's statistics; `matmul/tile/prefill_sums` defines the sums, and
// the file after it computes them.

// Invocations, which compute four features of sixteen rows each; those that share the norm of a
// row; and the iterations that store the sums.
const WORKGROUP_SIZE: u32 = 8u * TILE_N;
const ROW_INVOCATIONS: u32 = WORKGROUP_SIZE / 16u;
const ITERATIONS: u32 = 4u;
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
