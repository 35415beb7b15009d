// Every position of a sequence looks at every other.

struct Run { tokens: u32, rows: u32, first: u32, replace: u32, scale: f32, key: u32, threshold: u32, keep: f32 }
@group(0) @binding(0) var<uniform> run: Run;
// ---- end of parameters ----

// How many keys a query sees.
fn seen(query: u32) -> u32 {
    return run.tokens;
}

// The first query that sees a key.
fn seen_from(key: u32) -> u32 {
    return 0u;
}
