// Every position of a sequence looks at every other.

// How many keys a query sees.
fn seen(query: u32) -> u32 {
    return run.tokens;
}

// The first query that sees a key.
fn seen_from(key: u32) -> u32 {
    return 0u;
}
