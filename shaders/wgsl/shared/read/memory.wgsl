// Eight neighbouring elements of workgroup memory, the same for eight neighbouring invocations: each reads them for itself, when it comes to them.

struct SharedRead { first: u32 }

// Elements `first ..`.
fn shared_read(first: u32) -> SharedRead {
    return SharedRead(first);
}

fn shared_value(shared_read: SharedRead, j: u32) -> ScratchValue {
    return scratch[shared_read.first + j];
}
