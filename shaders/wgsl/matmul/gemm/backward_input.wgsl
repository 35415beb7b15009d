// dx = dy W: an invocation owns a quad of every row of W.
//
// The depth is the rows of W, or some of them: a long sum is made in pieces. Padding rows are zero, and so is dy where they begin.

@group(1) @binding(0) var<storage, read> dy: array<vec4<f32>>;

fn depth() -> u32 {
    return step.rows;
}

fn height() -> u32 {
    return run.rows;
}

fn stage(first: u32, k: u32, i: u32) {
    let quad = i / 32u * 8u + i % 8u;
    let quarter = i / 8u % 4u;
    let row = first + 4u * quarter;
    let own = (step.first + k) / 4u + quad;
    // By step.
    let steps = transpose(Rows(gradient(row, own), gradient(row + 1u, own), gradient(row + 2u, own), gradient(row + 3u, own)));
    put(4u * quad, quarter, steps[0]);
    put(4u * quad + 1u, quarter, steps[1]);
    put(4u * quad + 2u, quarter, steps[2]);
    put(4u * quad + 3u, quarter, steps[3]);
}

// As on the way forward, a row too many is the last one once more.
fn gradient(row: u32, quad: u32) -> vec4<f32> {
    return dy[min(row, run.rows - 1u) * (DY_STRIDE / 4u) + min(quad, DY_STRIDE / 4u - 1u)];
}

// The quad of an invocation.
fn starts(owner: u32) -> vec4<u32> {
    return vec4<u32>(min(owner, (COLUMNS + 3u) / 4u - 1u));
}

// Four neighbouring rows of W make four steps; zeros beyond the last one, which begins at `last`.
fn weights_at(start: u32, last: u32, quad: u32) -> vec4<f32> {
    let weights = own(weight(min(start, last), quad));
    return select(vec4<f32>(0.0), weights, start <= last);
}

// Step `k + i` of the depth is at place `i`.
fn multiply(quads: vec4<u32>, k: u32, begin: u32, end: u32, before: Sums) -> Sums {
    let next = weight_start(1u);
    let last = weight_start(step.second + k + end - 1u);
    var sums = before;
    var at = weight_start(step.second + k + begin);
    for (var i = begin; i < end; i += 4u) {
        let held = hold(i);
        sums = add(sums, weights_at(at, last, quads.x), rows_0(held));
        sums = add(sums, weights_at(at + next, last, quads.x), rows_1(held));
        sums = add(sums, weights_at(at + 2u * next, last, quads.x), rows_2(held));
        sums = add(sums, weights_at(at + 3u * next, last, quads.x), rows_3(held));
        at += 4u * next;
    }
    return sums;
}

// What is made from a chunk stands among the rows of the pass.
fn output_row(row: u32) -> u32 {
    return run.first + row;
}
