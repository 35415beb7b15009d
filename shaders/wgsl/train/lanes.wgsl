// Sums and maxima over all invocations of a workgroup, always in the same order.

const LANES: u32 = 64u;
// ---- end of parameters ----

var<workgroup> lanes: array<f32, LANES>;

// The sum of all invocations' values, for all of them.
fn lanes_sum(lane: u32, value: f32) -> f32 {
    lanes[lane] = value;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            lanes[lane] += lanes[lane + half];
        }
    }
    workgroupBarrier();
    let sum = lanes[0];
    workgroupBarrier();
    return sum;
}
