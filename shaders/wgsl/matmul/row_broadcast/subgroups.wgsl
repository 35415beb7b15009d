// Four steps of depth of sixteen rows that are in workgroup memory, and the same for all invocations: each reads an eighth of them, and they come from one to all others
// of its subgroup without memory. A subgroup has at least eight invocations; beyond the eighth they read what others have, and nobody asks them.

// Eight rows of one step.
struct RowBroadcast {
    low: vec4<f32>,
    high: vec4<f32>,
}

// Steps `first ..`, a multiple of four: an even invocation has the first eight rows of its step, an odd one the others.
fn row_broadcast(first: u32) -> RowBroadcast {
    let step = first + subgroup.lane / 2u % 4u;
    let quarter = subgroup.lane % 2u * 2u;
    return RowBroadcast(staged_quad(step, quarter), staged_quad(step, quarter + 1u));
}

fn broadcast_rows_0(broadcast: RowBroadcast) -> Rows {
    return Rows(subgroupShuffle(broadcast.low, 0u), subgroupShuffle(broadcast.high, 0u), subgroupShuffle(broadcast.low, 1u), subgroupShuffle(broadcast.high, 1u));
}

fn broadcast_rows_1(broadcast: RowBroadcast) -> Rows {
    return Rows(subgroupShuffle(broadcast.low, 2u), subgroupShuffle(broadcast.high, 2u), subgroupShuffle(broadcast.low, 3u), subgroupShuffle(broadcast.high, 3u));
}

fn broadcast_rows_2(broadcast: RowBroadcast) -> Rows {
    return Rows(subgroupShuffle(broadcast.low, 4u), subgroupShuffle(broadcast.high, 4u), subgroupShuffle(broadcast.low, 5u), subgroupShuffle(broadcast.high, 5u));
}

fn broadcast_rows_3(broadcast: RowBroadcast) -> Rows {
    return Rows(subgroupShuffle(broadcast.low, 6u), subgroupShuffle(broadcast.high, 6u), subgroupShuffle(broadcast.low, 7u), subgroupShuffle(broadcast.high, 7u));
}
