// A position looks at itself and at what came before.

// How many keys a query sees.
fn visible_keys(query: u32) -> u32 {
    return query + 1u;
}

// The first query that sees a key.
fn first_visible_query(key: u32) -> u32 {
    return key;
}
