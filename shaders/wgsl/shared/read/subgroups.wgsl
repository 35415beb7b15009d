// Eight neighbouring elements of workgroup memory, the same for eight neighbouring invocations: each reads one of them, and has the others from its neighbours, without
// memory. A subgroup has at least eight invocations, and all eight neighbours come here together.

struct SharedRead { own: ScratchValue }

// Elements `first ..`.
fn shared_read(first: u32) -> SharedRead {
    return SharedRead(scratch[first + subgroup.lane % 8u]);
}

fn shared_value(shared_read: SharedRead, j: u32) -> ScratchValue {
    return subgroupShuffle(shared_read.own, subgroup.lane / 8u * 8u + j);
}
