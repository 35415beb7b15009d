// Bidirectional: every position attends to all positions.

// The first key that the query at `position` attends to.
fn first_key(position: u32) -> u32 {
    return 0u;
}

// The end of the keys that the query at `position` attends to.
fn visible_keys(position: u32) -> u32 {
    return sequence_length();
}

// The first query that attends to `key`.
fn first_visible_query(key: u32) -> u32 {
    return 0u;
}

// The end of the queries that attend to `key`.
fn end_visible_query(key: u32) -> u32 {
    return sequence_length();
}
