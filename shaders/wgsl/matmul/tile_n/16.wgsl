// A workgroup multiplies 16 strips of 32 rows.

const TILE_N: u32 = 16u;
