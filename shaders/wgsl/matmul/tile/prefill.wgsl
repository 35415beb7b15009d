// Sixteen rows of inputs: a matrix times a matrix. What all ways to multiply them share: a workgroup of 8 invocations to a strip, and how they read inputs and
// add up a norm's statistics. How sums are held is said by `tile/prefill/sums.wgsl`, how they are made by the file that follows it.

// Invocations, which make four features of sixteen rows each; those that share a row's norm; and the turns in which outputs are shared.
const LANES: u32 = 8u * STRIPS;
const SHARE: u32 = LANES / 16u;
const TURNS: u32 = 4u;
const FEATURES: u32 = LANES / HALVES;

var<workgroup> some_sums: array<f32, LANES>;

// The sum over the invocations that share a row, for all of them.
fn row_sum(lane: u32, value: f32) -> f32 {
    some_sums[lane] = value;
    workgroupBarrier();
    let start = lane / SHARE * SHARE;
    var sum = 0.0;
    for (var i = 0u; i < SHARE; i++) {
        sum += some_sums[start + i];
    }
    workgroupBarrier();
    return sum;
}

// Four rows of a column, from row `r` of the tile on.
fn inputs(r: u32, first: u32, column: u32, by: vec2<f32>) -> vec4<f32> {
    return vec4<f32>(
        input(r, first + r, column, by),
        input(r + 1u, first + r + 1u, column, by),
        input(r + 2u, first + r + 2u, column, by),
        input(r + 3u, first + r + 3u, column, by),
    );
}
