// The maximum over a workgroup: each subgroup computes its own without memory, and the subgroups
// exchange theirs through memory once. The caller has a barrier between two calls, so that no value
// is overwritten before it is read.

// The maximum of all invocations' values, for all of them.
fn workgroup_max(invocation: u32, own: ScratchValue) -> ScratchValue {
    var maximum = subgroupMax(own);
    if subgroup.lane == 0u {
        scratch[PARTIALS + subgroup.number] = maximum;
    }
    workgroupBarrier();
    for (var i = subgroup.lane; i < subgroup.count; i += subgroup.size) {
        maximum = max(maximum, scratch[PARTIALS + i]);
    }
    return subgroupMax(maximum);
}
