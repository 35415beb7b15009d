// Every position of a sequence looks at every other.

// How many keys a query sees.
fn visible_keys(query: u32) -> u32 {
    return pass_uniform.tokens;
}

// The first query that sees a key.
fn first_visible_query(key: u32) -> u32 {
    return 0u;
}
