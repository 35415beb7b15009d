// Weights without scales: a block is a fixed number of elements of a row, so that its loop unrolls.

struct Block {
    panel: u32,
    at: u32,
}

// Columns `4 BLOCK_QUADS block ..` of row `row`.
fn load(row: u32, block: u32) -> Block {
    return Block(row / 8u, block * BLOCK_QUADS * 8u + row % 8u);
}
