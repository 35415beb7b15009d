// A workgroup multiplies 2 strips of 32 rows.

const TILE_N: u32 = 2u;
