// A norm as the prologue of a projection: the statistics of the tile's rows are computed before the
// product.

// Statistics of the tile's rows.
var<workgroup> row_statistics: array<vec2<f32>, TILE_ROWS>;

fn prepare_rows(first: u32, invocation: u32) {
    let r = invocation / ROW_INVOCATIONS;
    let own = statistics(min(first + r, pass_uniform.rows - 1u), EMBED, invocation);
    if invocation % ROW_INVOCATIONS == 0u {
        row_statistics[r] = own;
    }
    workgroupBarrier();
}

fn add_square(sum: f32, x: f32) -> f32 {
    return sum + x * x;
}

// Scale and shift of a column; beyond the last column, those of the last.
fn affine(column: u32) -> vec2<f32> {
    let own = min(column, EMBED - 1u);
    return vec2<f32>(gamma(own), beta(own));
}

// Normalises `x`, an element of row `r` of the tile.
fn normalize(r: u32, x: f32, scale_shift: vec2<f32>) -> f32 {
    return normalized(x, row_statistics[r], scale_shift);
}
