// The sum over a workgroup: each subgroup sums its own values without memory, and the subgroups
// exchange theirs through memory once. Two slots alternate, so one barrier is enough: no value is
// overwritten before it is read.

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
