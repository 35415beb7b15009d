// A product of two row-major matrices, for training. A workgroup computes a tile of 16 rows by 128
// columns.
//
// An invocation keeps the sums of sixteen rows of four columns. `owner` is the index of the
// invocation along x, over all workgroups, and determines its four columns. The rows are staged in
// workgroup memory for all invocations; each invocation reads its own columns. The depth is the
// dimension that products are summed over. Other files define the operands: `tile_products` stages
// 32 or 64 steps of the depth at a time, `stage` reads rows, `multiply` reads columns, `epilogue`
// stores sums, and `stage_rows`, `staged_rows`, `staged_quad` and `round_operand` define the
// precision of operands.

const WORKGROUP_SIZE: u32 = 32u;

fn work(group: vec3<u32>, invocation: u32) {
    let first = group.y * 16u;
    let owner = group.x * 32u + invocation;
    let sums = tile_products(first, owner, invocation);
    epilogue_rows(first, owner, Rows(sums.a[0], sums.b[0], sums.c[0], sums.d[0]));
    epilogue_rows(first + 4u, owner, Rows(sums.a[1], sums.b[1], sums.c[1], sums.d[1]));
    epilogue_rows(first + 8u, owner, Rows(sums.a[2], sums.b[2], sums.c[2], sums.d[2]));
    epilogue_rows(first + 12u, owner, Rows(sums.a[3], sums.b[3], sums.c[3], sums.d[3]));
}

// Calls the epilogue for each of four rows that is within the matrix, with four columns. Each
// vector of `columns` is one column of the four rows.
fn epilogue_rows(first: u32, owner: u32, columns: mat4x4<f32>) {
    var rows = transpose(columns);
    for (var i = 0u; i < 4u; i++) {
        if first + i < height() {
            epilogue(first + i, owner, rows[i]);
        }
    }
}
