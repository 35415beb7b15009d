// Every position looks at every other.

// How many keys row `row` sees.
fn seen(row: u32) -> u32 {
    return run.position + run.rows;
}
