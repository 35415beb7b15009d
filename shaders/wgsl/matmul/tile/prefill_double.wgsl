// Products of a prompt, with two places for inputs that take turns: while one is multiplied, the other is filled, and one barrier stands between two fillings. A
// place has half of the columns that `tile/prefill/single.wgsl` fills at a time, so that both take the same memory.

// Blocks and columns of a place.
const SLOT_BLOCKS: u32 = (CHUNK_BLOCKS + 1u) / 2u;
const SLOT_COLUMNS: u32 = SLOT_BLOCKS * BLOCK_QUADS * 4u;

// By place and column while it holds inputs, by invocation while it holds sums.
var<workgroup> tile: array<Rows, max(2u * SLOT_COLUMNS, WORKGROUP_SIZE)>;

fn staged_rows(i: u32) -> Rows {
    return tile[i];
}

fn staged_quad(i: u32, quarter: u32) -> vec4<f32> {
    return tile[i][quarter];
}

// Fills the place that begins at `place` with columns from block `start` on.
fn fill(slot: u32, first: u32, start: u32, invocation: u32) {
    for (var i = invocation; i < SLOT_COLUMNS; i += WORKGROUP_SIZE) {
        let column = start * BLOCK_QUADS * 4u + i;
        let scale_shift = affine(column);
        tile[slot + i] = Rows(
            inputs(0u, first, column, scale_shift),
            inputs(4u, first, column, scale_shift),
            inputs(8u, first, column, scale_shift),
            inputs(12u, first, column, scale_shift),
        );
    }
}

fn multiply(first: u32, strip: u32, invocation: u32) -> Sums {
    let rows = own_rows(strip, invocation);
    var sums = Sums();
    var slot = 0u;
    fill(slot, first, 0u, invocation);
    for (var start = 0u; start < BLOCKS; start += SLOT_BLOCKS) {
        // Whoever is here has filled what is multiplied next, and has multiplied what is filled next.
        workgroupBarrier();
        if start + SLOT_BLOCKS < BLOCKS {
            fill(SLOT_COLUMNS - slot, first, start + SLOT_BLOCKS, invocation);
        }
        let end = min(SLOT_BLOCKS, BLOCKS - start);
        for (var b = 0u; b < end; b++) {
            let a = load(rows.x, start + b);
            let e = load(rows.y, start + b);
            let c = load(rows.z, start + b);
            let d = load(rows.w, start + b);
            for (var j = 0u; j < BLOCK_QUADS; j++) {
                // By column.
                let weights = transpose(mat4x4<f32>(quad(a, j), quad(e, j), quad(c, j), quad(d, j)));
                let broadcast = row_broadcast(slot + (b * BLOCK_QUADS + j) * 4u);
                sums = add_products(sums, weights[0], broadcast_rows_0(broadcast));
                sums = add_products(sums, weights[1], broadcast_rows_1(broadcast));
                sums = add_products(sums, weights[2], broadcast_rows_2(broadcast));
                sums = add_products(sums, weights[3], broadcast_rows_3(broadcast));
            }
        }
        slot = SLOT_COLUMNS - slot;
    }
    return sums;
}
