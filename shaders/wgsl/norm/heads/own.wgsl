// Each element of queries and keys has its own parameter.

// The parameter of an element of the row.
fn parameter(column: u32) -> u32 {
    return column;
}
