// dW = dy^T x: the depth is the rows of the pass. An invocation owns a quad of every row of x.
//
// If the kernel runs for a part of the matrix, the columns of dy begin at the part's first row.
// Sums beyond the last column of either operand are discarded.

@group(1) @binding(0) var<storage, read> dy: array<vec4<f32>>;
@group(1) @binding(1) var<storage, read> x: array<vec4<f32>>;

fn depth() -> u32 {
    return pass_uniform.rows;
}

fn height() -> u32 {
    return step_uniform.rows;
}

// A row beyond the last is clamped to it; its products are zero.
fn stage(first: u32, k: u32, i: u32) {
    let at = min(k + i, pass_uniform.rows - 1u) * DY_QUADS + (step_uniform.first + first) / 4u;
    stage_rows(i, 0u, dy[at]);
    stage_rows(i, 1u, dy[at + 1u]);
    stage_rows(i, 2u, dy[at + 2u]);
    stage_rows(i, 3u, dy[at + 3u]);
}

// The quad of an invocation.
fn operand_starts(owner: u32) -> vec4<u32> {
    return vec4<u32>(min(owner, X_QUADS - 1u));
}

// The quad of x at `at`. Zero beyond the last row of the depth, whose quad is at `last`.
fn x_at(at: u32, last: u32) -> vec4<f32> {
    let inputs = round_operand(x[min(at, last)]);
    return select(vec4<f32>(0.0), inputs, at <= last);
}

// Step `k + i` of the depth is staged at `i`.
fn multiply(quads: vec4<u32>, k: u32, begin: u32, end: u32, before: Sums) -> Sums {
    let last = (pass_uniform.first + k + end - 1u) * X_QUADS + quads.x;
    var sums = before;
    var at = (pass_uniform.first + k + begin) * X_QUADS + quads.x;
    for (var i = begin; i < end; i += 4u) {
        let broadcast = row_broadcast(i);
        sums = add_products(sums, x_at(at, last), broadcast_rows_0(broadcast));
        sums = add_products(sums, x_at(at + X_QUADS, last), broadcast_rows_1(broadcast));
        sums = add_products(sums, x_at(at + 2u * X_QUADS, last), broadcast_rows_2(broadcast));
        sums = add_products(sums, x_at(at + 3u * X_QUADS, last), broadcast_rows_3(broadcast));
        at += 4u * X_QUADS;
    }
    return sums;
}
