// All heads of queries share the parameters of a norm, and all heads of keys.

// The parameter of an element of the row.
fn parameter(column: u32) -> u32 {
    return column % HEAD_DIM + select(0u, HEAD_DIM, column >= Q_WIDTH);
}
