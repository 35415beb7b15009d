// Reads eight neighbouring elements of workgroup memory, the same for eight neighbouring
// invocations: each invocation reads all of them.

struct SharedRead { first: u32 }

// Eight elements from `first` on.
fn shared_read(first: u32) -> SharedRead {
    return SharedRead(first);
}

fn shared_value(values: SharedRead, j: u32) -> ScratchValue {
    return scratch[values.first + j];
}
