// Bidirectional, with a window: a position attends to positions whose distance is below WINDOW.

// The first key that the query at `position` attends to.
fn first_key(position: u32) -> u32 {
    return max(position + 1u, WINDOW) - WINDOW;
}

// The end of the keys that the query at `position` attends to.
fn visible_keys(position: u32) -> u32 {
    return position + min(WINDOW, sequence_length() - position);
}

// The first query that attends to `key`.
fn first_visible_query(key: u32) -> u32 {
    return first_key(key);
}

// The end of the queries that attend to `key`.
fn end_visible_query(key: u32) -> u32 {
    return visible_keys(key);
}
