// The best candidate of a workgroup; among equals, the smallest token. Each subgroup finds its own
// without memory, and the subgroups exchange theirs through memory once.

// A subgroup has at least eight invocations.
var<workgroup> bests: array<vec2<u32>, WORKGROUP_SIZE / 8u>;

fn subgroup_best(own: vec2<u32>) -> vec2<u32> {
    let order = subgroupMax(own.x);
    return vec2<u32>(order, subgroupMin(select(NOTHING.y, own.y, own.x == order)));
}

// The best of all invocations' candidates, for all of them.
fn workgroup_best(invocation: u32, own: vec2<u32>) -> vec2<u32> {
    let best = subgroup_best(own);
    if subgroup.lane == 0u {
        bests[subgroup.number] = best;
    }
    workgroupBarrier();
    var all = NOTHING;
    for (var i = subgroup.lane; i < subgroup.count; i += subgroup.size) {
        all = better(all, bests[i]);
    }
    return subgroup_best(all);
}
