// Products of a prompt, with two places for inputs that take turns: while one is multiplied, the other is filled, and one barrier stands between two fillings. A
// place has half of the columns that `tile/prefill/single.wgsl` fills at a time, so that both take the same memory.

// Blocks and columns of a place.
const PLACE_BLOCKS: u32 = (CHUNK_BLOCKS + 1u) / 2u;
const PLACE: u32 = PLACE_BLOCKS * BLOCK_QUADS * 4u;

// By place and column while it holds inputs, by invocation while it holds sums.
var<workgroup> tile: array<Rows, max(2u * PLACE, LANES)>;

fn staged(i: u32) -> Rows {
    return tile[i];
}

fn staged_four(i: u32, quarter: u32) -> vec4<f32> {
    return tile[i][quarter];
}

// Fills the place that begins at `place` with columns from block `start` on.
fn fill(place: u32, first: u32, start: u32, lane: u32) {
    for (var i = lane; i < PLACE; i += LANES) {
        let column = start * BLOCK_QUADS * 4u + i;
        let by = affine(column);
        tile[place + i] = Rows(
            inputs(0u, first, column, by),
            inputs(4u, first, column, by),
            inputs(8u, first, column, by),
            inputs(12u, first, column, by),
        );
    }
}

fn multiply(first: u32, strip: u32, lane: u32) -> Sums {
    let rows = own_rows(strip, lane);
    var sums = Sums();
    var place = 0u;
    fill(place, first, 0u, lane);
    for (var start = 0u; start < BLOCKS; start += PLACE_BLOCKS) {
        // Whoever is here has filled what is multiplied next, and has multiplied what is filled next.
        workgroupBarrier();
        if start + PLACE_BLOCKS < BLOCKS {
            fill(PLACE - place, first, start + PLACE_BLOCKS, lane);
        }
        let end = min(PLACE_BLOCKS, BLOCKS - start);
        for (var b = 0u; b < end; b++) {
            let a = load(rows.x, start + b);
            let e = load(rows.y, start + b);
            let c = load(rows.z, start + b);
            let d = load(rows.w, start + b);
            for (var j = 0u; j < BLOCK_QUADS; j++) {
                // By column.
                let weights = transpose(mat4x4<f32>(quad(a, j), quad(e, j), quad(c, j), quad(d, j)));
                let held = hold(place + (b * BLOCK_QUADS + j) * 4u);
                sums = add(sums, weights[0], rows_0(held));
                sums = add(sums, weights[1], rows_1(held));
                sums = add(sums, weights[2], rows_2(held));
                sums = add(sums, weights[3], rows_3(held));
            }
        }
        place = PLACE - place;
    }
    return sums;
}
