// A sum over all invocations of a workgroup, through its memory.

var<workgroup> some_sums: array<f32, 16>;

// The sum of all invocations' values, for all of them.
fn row_sum(lane: u32, value: f32) -> f32 {
    shared_sums[lane] = value;
    workgroupBarrier();
    if lane < 16u {
        var sum = 0.0;
        for (var i = 0u; i < LANES / 16u; i++) {
            sum += shared_sums[i * 16u + lane];
        }
        some_sums[lane] = sum;
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < 16u; i++) {
        sum += some_sums[i];
    }
    return sum;
}
