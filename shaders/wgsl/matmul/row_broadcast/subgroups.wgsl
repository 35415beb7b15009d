// Reads four steps of sixteen staged rows, which are the same for all invocations: each of eight
// invocations reads an eighth, and the subgroup shares the rows without memory. A subgroup has at
// least eight invocations; the reads of those beyond the eighth are not used.

// Eight rows of a step.
struct RowBroadcast {
    low: vec4<f32>,
    high: vec4<f32>,
}

// Four steps from `first` on, which is a multiple of four. An even invocation reads the first eight
// rows of its step, an odd one the others.
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
