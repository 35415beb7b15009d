// Eight neighbouring elements of workgroup memory, the same for eight neighbouring invocations: each reads one of them, and has the others from its neighbours, without
// memory. A subgroup has at least eight invocations, and all eight neighbours come here together.

struct Eight { own: Shared }

// Elements `first ..`.
fn eight(first: u32) -> Eight {
    return Eight(memory[first + subgroup.lane % 8u]);
}

fn of_eight(eight: Eight, j: u32) -> Shared {
    return subgroupShuffle(eight.own, subgroup.lane / 8u * 8u + j);
}
