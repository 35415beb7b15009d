// Weights without scales: a block is a fixed number of elements of a row, so that its loop unrolls.

struct Block {
    panel: u32,
    at: u32,
}

// Locates the 4 BLOCK_QUADS columns of row `row` from `4 BLOCK_QUADS block` on.
fn load(row: u32, block: u32) -> Block {
    return Block(row / 8u, block * BLOCK_QUADS * 8u + row % 8u);
}
