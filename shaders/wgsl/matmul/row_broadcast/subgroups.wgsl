// Four steps of depth of sixteen rows that are in workgroup memory, and the same for all invocations: each reads an eighth of them, and they come from one to all others
// of its subgroup without memory. A subgroup has at least eight invocations; beyond the eighth they read what others have, and nobody asks them.

// Eight rows of one step.
struct Held {
    low: vec4<f32>,
    high: vec4<f32>,
}

// Steps `first ..`, a multiple of four: an even invocation has the first eight rows of its step, an odd one the others.
fn hold(first: u32) -> Held {
    let step = first + subgroup.lane / 2u % 4u;
    let quarter = subgroup.lane % 2u * 2u;
    return Held(staged_four(step, quarter), staged_four(step, quarter + 1u));
}

fn rows_0(held: Held) -> Rows {
    return Rows(subgroupShuffle(held.low, 0u), subgroupShuffle(held.high, 0u), subgroupShuffle(held.low, 1u), subgroupShuffle(held.high, 1u));
}

fn rows_1(held: Held) -> Rows {
    return Rows(subgroupShuffle(held.low, 2u), subgroupShuffle(held.high, 2u), subgroupShuffle(held.low, 3u), subgroupShuffle(held.high, 3u));
}

fn rows_2(held: Held) -> Rows {
    return Rows(subgroupShuffle(held.low, 4u), subgroupShuffle(held.high, 4u), subgroupShuffle(held.low, 5u), subgroupShuffle(held.high, 5u));
}

fn rows_3(held: Held) -> Rows {
    return Rows(subgroupShuffle(held.low, 6u), subgroupShuffle(held.high, 6u), subgroupShuffle(held.low, 7u), subgroupShuffle(held.high, 7u));
}
