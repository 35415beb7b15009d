// A workgroup multiplies 4 strips of 32 rows.

const TILE_N: u32 = 4u;
