// A sum over all invocations of a workgroup: each subgroup adds up its own without memory, and what the subgroups have goes through memory once. One barrier,
// not two: sums take turns with two places, so that nobody writes where somebody may still read the one before.

// A subgroup has at least eight invocations.
const MOST_SUBGROUPS: u32 = WORKGROUP_SIZE / 8u;

var<workgroup> partial_sums: array<f32, 2u * MOST_SUBGROUPS>;
var<private> slot: u32;

// The sum of all invocations' values, for all of them.
fn row_sum(invocation: u32, value: f32) -> f32 {
    let own = subgroupAdd(value);
    if subgroup.lane == 0u {
        partial_sums[slot + subgroup.number] = own;
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var i = subgroup.lane; i < subgroup.count; i += subgroup.size) {
        sum += partial_sums[slot + i];
    }
    slot = MOST_SUBGROUPS - slot;
    return subgroupAdd(sum);
}
