// Causal: a position attends to itself and to the positions before it.

// The first key that the query at `position` attends to.
fn first_key(position: u32) -> u32 {
    return 0u;
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
    return sequence_length();
}
