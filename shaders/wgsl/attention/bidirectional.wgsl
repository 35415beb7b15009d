// Every position looks at every other.

struct Run { position: u32, rows: u32, first: u32 }
@group(0) @binding(0) var<uniform> run: Run;
// ---- end of parameters ----

// How many keys row `row` sees.
fn seen(row: u32) -> u32 {
    return run.position + run.rows;
}
