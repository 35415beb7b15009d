// Products of a prompt: workgroup memory is filled with columns of inputs, which are the same for all invocations, and multiplied with weights that each reads for
// itself.

// Columns of a filling.
const CHUNK: u32 = CHUNK_BLOCKS * BLOCK_QUADS * 4u;

// By column while it holds inputs, by invocation while it holds sums.
var<workgroup> tile: array<Rows, max(CHUNK, LANES)>;

fn staged(i: u32) -> Rows {
    return tile[i];
}

fn staged_four(i: u32, quarter: u32) -> vec4<f32> {
    return tile[i][quarter];
}

fn multiply(first: u32, strip: u32, lane: u32) -> Sums {
    let rows = own_rows(strip, lane);
    var sums = Sums();
    for (var start = 0u; start < BLOCKS; start += CHUNK_BLOCKS) {
        workgroupBarrier();
        for (var i = lane; i < CHUNK; i += LANES) {
            let column = start * BLOCK_QUADS * 4u + i;
            let by = affine(column);
            tile[i] = Rows(
                inputs(0u, first, column, by),
                inputs(4u, first, column, by),
                inputs(8u, first, column, by),
                inputs(12u, first, column, by),
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
                let held = hold((b * BLOCK_QUADS + j) * 4u);
                sums = add(sums, weights[0], rows_0(held));
                sums = add(sums, weights[1], rows_1(held));
                sums = add(sums, weights[2], rows_2(held));
                sums = add(sums, weights[3], rows_3(held));
            }
        }
    }
    return sums;
}
