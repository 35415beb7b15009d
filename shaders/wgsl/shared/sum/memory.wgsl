// The sum over a workgroup, through its memory.

var<workgroup> partial_sums: array<f32, 16>;

// The sum of all invocations' values, for all of them.
fn row_sum(invocation: u32, value: f32) -> f32 {
    shared_sums[invocation] = value;
    workgroupBarrier();
    if invocation < 16u {
        var sum = 0.0;
        for (var i = 0u; i < WORKGROUP_SIZE / 16u; i++) {
            sum += shared_sums[i * 16u + invocation];
        }
        partial_sums[invocation] = sum;
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < 16u; i++) {
        sum += partial_sums[i];
    }
    return sum;
}
