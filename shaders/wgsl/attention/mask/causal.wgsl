// Causal: a position attends to itself and to the positions before it.

// Keys that the query at `position` attends to.
fn visible_keys(position: u32) -> u32 {
    return position + 1u;
}

// The first query that attends to `key`.
fn first_visible_query(key: u32) -> u32 {
    return key;
}
