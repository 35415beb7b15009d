// The greatest of all invocations' values: each subgroup finds its own without memory, and what the subgroups have goes through memory once. Between two calls the
// caller has a barrier, so that nobody writes where somebody may still read.

// The greatest of all invocations' values, for all of them.
fn lanes_maximum(lane: u32, own: Queries) -> Queries {
    var greatest = subgroupMax(own);
    if subgroup.lane == 0u {
        memory[SOME + subgroup.number] = greatest;
    }
    workgroupBarrier();
    for (var i = subgroup.lane; i < subgroup.count; i += subgroup.size) {
        greatest = max(greatest, memory[SOME + i]);
    }
    return subgroupMax(greatest);
}
