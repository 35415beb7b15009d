// Four steps of depth of sixteen rows that are in workgroup memory: each invocation reads them for itself, when it comes to them.

struct Held { first: u32 }

// Steps `first ..`, a multiple of four.
fn hold(first: u32) -> Held {
    return Held(first);
}

fn rows_0(held: Held) -> Rows {
    return staged(held.first);
}

fn rows_1(held: Held) -> Rows {
    return staged(held.first + 1u);
}

fn rows_2(held: Held) -> Rows {
    return staged(held.first + 2u);
}

fn rows_3(held: Held) -> Rows {
    return staged(held.first + 3u);
}
