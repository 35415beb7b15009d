// Weights without scales: a block is so many elements of a row, read without a look at the loop's end.

struct Block {
    panel: u32,
    at: u32,
}

// Columns `4 BLOCK_QUADS block ..` of row `row`.
fn load(row: u32, block: u32) -> Block {
    return Block(row / 8u, block * BLOCK_QUADS * 8u + row % 8u);
}
