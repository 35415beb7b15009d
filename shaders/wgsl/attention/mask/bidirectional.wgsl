// Every position looks at every other.

// How many keys row `row` sees.
fn visible_keys(row: u32) -> u32 {
    return pass_uniform.position + pass_uniform.rows;
}
