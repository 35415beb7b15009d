// A position looks at itself and at what came before: scores of later ones count as minus infinity before the softmax.

// How many keys row `row` sees.
fn visible_keys(row: u32) -> u32 {
    return pass_uniform.position + row + 1u;
}
