// All heads of queries share one set of parameters, and all heads of keys share another.

// The parameter of an element of the row.
fn parameter(column: u32) -> u32 {
    return column % HEAD_DIM + select(0u, HEAD_DIM, column >= Q_WIDTH);
}
