// Reads eight neighbouring elements of workgroup memory, the same for eight neighbouring
// invocations: each reads one, and gets the others from its neighbours without memory. A subgroup
// has at least eight invocations, and all eight neighbours call this together.

struct SharedRead { own: ScratchValue }

// Eight elements from `first` on.
fn shared_read(first: u32) -> SharedRead {
    return SharedRead(scratch[first + subgroup.lane % 8u]);
}

fn shared_value(values: SharedRead, j: u32) -> ScratchValue {
    return subgroupShuffle(values.own, subgroup.lane / 8u * 8u + j);
}
