// Products of a prompt: workgroup memory is filled with columns of inputs, which are the same for all invocations, and multiplied with weights that each reads for
// itself.

// Columns of a filling.
const CHUNK: u32 = CHUNK_BLOCKS * BLOCK_QUADS * 4u;

// By column while it holds inputs, by invocation while it holds sums.
var<workgroup> tile: array<Rows, max(CHUNK, WORKGROUP_SIZE)>;

fn staged_rows(i: u32) -> Rows {
    return tile[i];
}

fn staged_quad(i: u32, quarter: u32) -> vec4<f32> {
    return tile[i][quarter];
}

fn multiply(first: u32, strip: u32, invocation: u32) -> Sums {
    let rows = own_rows(strip, invocation);
    var sums = Sums();
    for (var start = 0u; start < BLOCKS; start += CHUNK_BLOCKS) {
        workgroupBarrier();
        for (var i = invocation; i < CHUNK; i += WORKGROUP_SIZE) {
            let column = start * BLOCK_QUADS * 4u + i;
            let scale_shift = affine(column);
            tile[i] = Rows(
                inputs(0u, first, column, scale_shift),
                inputs(4u, first, column, scale_shift),
                inputs(8u, first, column, scale_shift),
                inputs(12u, first, column, scale_shift),
            );
        }
        workgroupBarrier();
        let end = min(CHUNK_BLOCKS, BLOCKS - start);
        for (var b = 0u; b < end; b++) {
            let a = load(rows.x, start + b);
            let e = load(rows.y, start + b);
            let c = load(rows.z, start + b);
            let d = load(rows.w, start + b);
            for (var j = 0u; j < BLOCK_QUADS; j++) {
                // By column.
                let weights = transpose(mat4x4<f32>(quad(a, j), quad(e, j), quad(c, j), quad(d, j)));
                let broadcast = row_broadcast((b * BLOCK_QUADS + j) * 4u);
                sums = add_products(sums, weights[0], broadcast_rows_0(broadcast));
                sums = add_products(sums, weights[1], broadcast_rows_1(broadcast));
                sums = add_products(sums, weights[2], broadcast_rows_2(broadcast));
                sums = add_products(sums, weights[3], broadcast_rows_3(broadcast));
            }
        }
    }
    return sums;
}
