// Reads four steps of sixteen staged rows, which are the same for all invocations: each invocation
// reads all of them from workgroup memory.

struct RowBroadcast { first: u32 }

// Four steps from `first` on, which is a multiple of four.
fn row_broadcast(first: u32) -> RowBroadcast {
    return RowBroadcast(first);
}

fn broadcast_rows_0(broadcast: RowBroadcast) -> Rows {
    return staged_rows(broadcast.first);
}

fn broadcast_rows_1(broadcast: RowBroadcast) -> Rows {
    return staged_rows(broadcast.first + 1u);
}

fn broadcast_rows_2(broadcast: RowBroadcast) -> Rows {
    return staged_rows(broadcast.first + 2u);
}

fn broadcast_rows_3(broadcast: RowBroadcast) -> Rows {
    return staged_rows(broadcast.first + 3u);
}
