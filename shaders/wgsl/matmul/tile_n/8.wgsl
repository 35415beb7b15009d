// A workgroup multiplies 8 strips of 32 rows.

const TILE_N: u32 = 8u;
