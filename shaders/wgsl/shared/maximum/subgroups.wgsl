// The greatest of all invocations' values: each subgroup finds its own without memory, and what the subgroups have goes through memory once. Between two calls the
// caller has a barrier, so that nobody writes where somebody may still read.

// The greatest of all invocations' values, for all of them.
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
