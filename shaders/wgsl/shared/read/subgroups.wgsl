// Reads eight neighboring elements of workgroup memory, the same for eight neighboring invocations:
// each reads one, and gets the others from its neighbors without memory. A subgroup has at least
// eight invocations, and all eight neighbors call this together.

struct SharedRead { own: ScratchValue }

// Elements `first ..`.
fn shared_read(first: u32) -> SharedRead {
    return SharedRead(scratch[first + subgroup.lane % 8u]);
}

fn shared_value(values: SharedRead, j: u32) -> ScratchValue {
    return subgroupShuffle(values.own, subgroup.lane / 8u * 8u + j);
}
