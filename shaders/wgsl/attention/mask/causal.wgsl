// A position looks at itself and at what came before: scores of later ones count as minus infinity before the softmax.

// How many keys row `row` sees.
fn seen(row: u32) -> u32 {
    return run.position + row + 1u;
}
