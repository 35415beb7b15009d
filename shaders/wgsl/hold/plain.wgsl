// Four steps of depth of sixteen rows that are in workgroup memory: each invocation reads them for itself, when it comes to them.

alias Rows = mat4x4<f32>;

fn staged(i: u32) -> Rows {
    return Rows();
}
// ---- end of parameters ----

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
