// Eight neighbouring elements of workgroup memory, the same for eight neighbouring invocations: each reads them for itself, when it comes to them.

struct Eight { first: u32 }

// Elements `first ..`.
fn eight(first: u32) -> Eight {
    return Eight(first);
}

fn of_eight(eight: Eight, j: u32) -> Shared {
    return memory[eight.first + j];
}
