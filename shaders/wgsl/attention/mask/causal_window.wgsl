// Causal, with a window: a position attends to the last WINDOW positions, itself included.

// The first key that the query at `position` attends to.
fn first_key(position: u32) -> u32 {
    return max(position + 1u, WINDOW) - WINDOW;
}

// The end of the keys that the query at `position` attends to.
fn visible_keys(position: u32) -> u32 {
    return position + 1u;
}

// The first query that attends to `key`.
fn first_visible_query(key: u32) -> u32 {
    return key;
}

// The end of the queries that attend to `key`.
fn end_visible_query(key: u32) -> u32 {
    return key + min(WINDOW, sequence_length() - key);
}
