// dx = dy W: an invocation owns a quad of every row of W.
//
// The depth is the rows of W, or some of them: a long sum is split. Rows of W beyond the last are
// read as zero.

@group(1) @binding(0) var<storage, read> dy: array<vec4<f32>>;

fn depth() -> u32 {
    return step_uniform.rows;
}

fn height() -> u32 {
    return pass_uniform.rows;
}

fn depth_start() -> u32 {
    return step_uniform.first;
}

// A row beyond the last is clamped to it, as in the forward pass.
fn operand_quad(row: u32, quad: u32) -> vec4<f32> {
    return dy[min(row, pass_uniform.rows - 1u) * (DY_STRIDE / 4u) + min(quad, DY_STRIDE / 4u - 1u)];
}

// The quad of an invocation.
fn operand_starts(owner: u32) -> vec4<u32> {
    return vec4<u32>(min(owner, (COLUMNS + 3u) / 4u - 1u));
}

// A quad of the row of W that begins at `start`. Zero beyond the last row, which begins at `last`.
fn weights_at(start: u32, last: u32, quad: u32) -> vec4<f32> {
    let weights = round_operand(weight(min(start, last), quad));
    return select(vec4<f32>(0.0), weights, start <= last);
}

// Step `k + i` of the depth, a row of W, is staged at `i`.
fn multiply(quads: vec4<u32>, k: u32, begin: u32, end: u32, before: Sums) -> Sums {
    let next = weight_start(1u);
    let last = weight_start(step_uniform.binding_row + k + end - 1u);
    var sums = before;
    var at = weight_start(step_uniform.binding_row + k + begin);
    for (var i = begin; i < end; i += 4u) {
        let broadcast = row_broadcast(i);
        sums = add_products(sums, weights_at(at, last, quads.x), broadcast_rows_0(broadcast));
        sums = add_products(sums, weights_at(at + next, last, quads.x), broadcast_rows_1(broadcast));
        sums = add_products(sums, weights_at(at + 2u * next, last, quads.x), broadcast_rows_2(broadcast));
        sums = add_products(sums, weights_at(at + 3u * next, last, quads.x), broadcast_rows_3(broadcast));
        at += 4u * next;
    }
    return sums;
}

// A range of rows begins at row `first` of the pass.
fn output_row(row: u32) -> u32 {
    return pass_uniform.first + row;
}
