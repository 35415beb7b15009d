// Multiplies the rows of a prompt, with two staging buffers: one is filled while the other is
// multiplied, so that one barrier is enough each time. A buffer has half of the columns that
// `matmul/tile/prefill_single` stages, so both take the same memory.

// Blocks of a buffer.
const SLOT_BLOCKS: u32 = (STAGED_BLOCKS + 1u) / 2u;
// Columns of a buffer.
const SLOT_COLUMNS: u32 = SLOT_BLOCKS * BLOCK_QUADS * 4u;

// By buffer and column while it stages inputs, by invocation while it holds sums.
var<workgroup> tile: array<Rows, max(2u * SLOT_COLUMNS, WORKGROUP_SIZE)>;

fn staged_rows(i: u32) -> Rows {
    return tile[i];
}

fn staged_quad(i: u32, quarter: u32) -> vec4<f32> {
    return tile[i][quarter];
}

// Fills the buffer that begins at `slot` with columns from block `start` on.
fn fill(slot: u32, first: u32, start: u32, invocation: u32) {
    for (var i = invocation; i < SLOT_COLUMNS; i += WORKGROUP_SIZE) {
        tile[slot + i] = input_rows(first, start * BLOCK_QUADS * 4u + i);
    }
}

fn multiply(first: u32, strip: u32, invocation: u32) -> Sums {
    let rows = own_rows(strip, invocation);
    var sums = Sums();
    var slot = 0u;
    fill(slot, first, 0u, invocation);
    for (var start = 0u; start < BLOCKS; start += SLOT_BLOCKS) {
        // One buffer is full, and all invocations are done with the other.
        workgroupBarrier();
        if start + SLOT_BLOCKS < BLOCKS {
            fill(SLOT_COLUMNS - slot, first, start + SLOT_BLOCKS, invocation);
        }
        let end = min(SLOT_BLOCKS, BLOCKS - start);
        for (var b = 0u; b < end; b++) {
            sums = multiply_block(sums, rows, start + b, slot + b * BLOCK_QUADS * 4u);
        }
        slot = SLOT_COLUMNS - slot;
    }
    return sums;
}
