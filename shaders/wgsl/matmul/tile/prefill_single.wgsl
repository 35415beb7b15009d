// Multiplies the rows of a prompt by weights. Inputs are staged in workgroup memory for all
// invocations, some columns at a time; each invocation reads its own weights.

// Columns of the inputs that are staged at a time.
const STAGED_COLUMNS: u32 = STAGED_BLOCKS * BLOCK_QUADS * 4u;

// By column while it stages inputs, by invocation while it holds sums.
var<workgroup> tile: array<Rows, max(STAGED_COLUMNS, WORKGROUP_SIZE)>;

fn staged_rows(i: u32) -> Rows {
    return tile[i];
}

fn staged_quad(i: u32, quarter: u32) -> vec4<f32> {
    return tile[i][quarter];
}

fn multiply(first: u32, strip: u32, invocation: u32) -> Sums {
    let rows = own_rows(strip, invocation);
    var sums = Sums();
    for (var start = 0u; start < BLOCKS; start += STAGED_BLOCKS) {
        workgroupBarrier();
        for (var i = invocation; i < STAGED_COLUMNS; i += WORKGROUP_SIZE) {
            tile[i] = input_rows(first, start * BLOCK_QUADS * 4u + i);
        }
        workgroupBarrier();
        let end = min(STAGED_BLOCKS, BLOCKS - start);
        for (var b = 0u; b < end; b++) {
            sums = multiply_block(sums, rows, start + b, b * BLOCK_QUADS * 4u);
        }
    }
    return sums;
}
