// A position looks at itself and at what came before.

// How many keys a query sees.
fn seen(query: u32) -> u32 {
    return query + 1u;
}

// The first query that sees a key.
fn seen_from(key: u32) -> u32 {
    return key;
}
