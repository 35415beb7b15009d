// How much of a matrix a workgroup multiplies: 8 strips of 32 rows. In a file of its own, so that a variant may have another number.

const TILE_N: u32 = 8u;
