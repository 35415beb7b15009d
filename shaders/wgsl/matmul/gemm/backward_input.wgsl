// dx = dy W: an invocation owns a quad of every row of W.
//
// The depth is the rows of W, or some of them: a long sum is made in pieces. Padding rows are zero, and so is dy where they begin.

@group(1) @binding(0) var<storage, read> dy: array<vec4<f32>>;

fn depth() -> u32 {
    return step_uniform.rows;
}

fn height() -> u32 {
    return pass_uniform.rows;
}

fn stage(first: u32, k: u32, i: u32) {
    let quad = i / 32u * 8u + i % 8u;
    let quarter = i / 8u % 4u;
    let row = first + 4u * quarter;
    let own = (step_uniform.first + k) / 4u + quad;
    // By step.
    let steps = transpose(Rows(dy_quad(row, own), dy_quad(row + 1u, own), dy_quad(row + 2u, own), dy_quad(row + 3u, own)));
    stage_rows(4u * quad, quarter, steps[0]);
    stage_rows(4u * quad + 1u, quarter, steps[1]);
    stage_rows(4u * quad + 2u, quarter, steps[2]);
    stage_rows(4u * quad + 3u, quarter, steps[3]);
}

// As on the way forward, a row too many is the last one once more.
fn dy_quad(row: u32, quad: u32) -> vec4<f32> {
    return dy[min(row, pass_uniform.rows - 1u) * (DY_STRIDE / 4u) + min(quad, DY_STRIDE / 4u - 1u)];
}

// The quad of an invocation.
fn operand_starts(owner: u32) -> vec4<u32> {
    return vec4<u32>(min(owner, (COLUMNS + 3u) / 4u - 1u));
}

// Four neighbouring rows of W make four steps; zeros beyond the last one, which begins at `last`.
fn weights_at(start: u32, last: u32, quad: u32) -> vec4<f32> {
    let weights = round_operand(weight(min(start, last), quad));
    return select(vec4<f32>(0.0), weights, start <= last);
}

// Step `k + i` of the depth is at place `i`.
fn multiply(quads: vec4<u32>, k: u32, begin: u32, end: u32, before: Sums) -> Sums {
    let next = weight_start(1u);
    let last = weight_start(step_uniform.second + k + end - 1u);
    var sums = before;
    var at = weight_start(step_uniform.second + k + begin);
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

// What is made from a chunk stands among the rows of the pass.
fn output_row(row: u32) -> u32 {
    return pass_uniform.first + row;
}
