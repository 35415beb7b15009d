// Four steps of depth of sixteen rows that are in workgroup memory: each invocation reads them for itself, when it comes to them.

struct RowBroadcast { first: u32 }

// Steps `first ..`, a multiple of four.
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
