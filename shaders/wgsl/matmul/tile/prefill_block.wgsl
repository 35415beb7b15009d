// Products of a block of weights with sixteen rows of staged inputs.

// Sixteen rows of a column.
fn input_rows(first: u32, column: u32) -> Rows {
    let scale_shift = affine(column);
    return Rows(
        inputs(0u, first, column, scale_shift),
        inputs(4u, first, column, scale_shift),
        inputs(8u, first, column, scale_shift),
        inputs(12u, first, column, scale_shift),
    );
}

// Adds the products of block `block` of four rows of the matrix. The inputs of its first column
// are staged at `at`.
fn multiply_block(before: Sums, rows: vec4<u32>, block: u32, at: u32) -> Sums {
    let a = load(rows.x, block);
    let b = load(rows.y, block);
    let c = load(rows.z, block);
    let d = load(rows.w, block);
    var sums = before;
    for (var j = 0u; j < BLOCK_QUADS; j++) {
        // By column.
        let weights = transpose(mat4x4<f32>(quad(a, j), quad(b, j), quad(c, j), quad(d, j)));
        let broadcast = row_broadcast(at + j * 4u);
        sums = add_products(sums, weights[0], broadcast_rows_0(broadcast));
        sums = add_products(sums, weights[1], broadcast_rows_1(broadcast));
        sums = add_products(sums, weights[2], broadcast_rows_2(broadcast));
        sums = add_products(sums, weights[3], broadcast_rows_3(broadcast));
    }
    return sums;
}
