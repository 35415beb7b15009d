// A workgroup multiplies 1 strip of 32 rows.

const TILE_N: u32 = 1u;
