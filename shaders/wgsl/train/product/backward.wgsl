// dx = dy W: an invocation owns a quad of every row of W.
//
// The depth is the rows of W, or some of them: a long sum is made in pieces. Padding rows are zero, and so is dy where they begin.

// From a row of dy to the next.
const DY_STRIDE: u32 = 2320u;

struct Run { tokens: u32, rows: u32, first: u32, replace: u32, scale: f32, key: u32, threshold: u32, keep: f32 }
@group(0) @binding(0) var<uniform> run: Run;
struct Step { first: u32, rows: u32, second: u32, site: u32, adds: u32 }
@group(0) @binding(1) var<uniform> step: Step;

alias Rows = mat4x4<f32>;
struct Sums { a: Rows, b: Rows, c: Rows, d: Rows }

fn put(i: u32, rows: Rows) {}

fn add(sums: Sums, by: vec4<f32>, rows: Rows) -> Sums {
    return sums;
}

struct Held { first: u32 }

fn hold(first: u32) -> Held {
    return Held(first);
}

fn rows_0(held: Held) -> Rows {
    return Rows();
}

fn rows_1(held: Held) -> Rows {
    return Rows();
}

fn rows_2(held: Held) -> Rows {
    return Rows();
}

fn rows_3(held: Held) -> Rows {
    return Rows();
}

fn own(values: vec4<f32>) -> vec4<f32> {
    return values;
}

fn weight(row: u32, quad: u32) -> vec4<f32> {
    return vec4<f32>(f32(row + quad));
}
// ---- end of parameters ----

@group(1) @binding(0) var<storage, read> dy: array<f32>;

fn depth() -> u32 {
    return step.rows;
}

fn height() -> u32 {
    return run.rows;
}

fn stage(first: u32, k: u32, i: u32) {
    let column = step.first + k + i;
    put(i, Rows(
        gradients(first, column),
        gradients(first + 4u, column),
        gradients(first + 8u, column),
        gradients(first + 12u, column),
    ));
}

fn gradients(row: u32, column: u32) -> vec4<f32> {
    return vec4<f32>(
        gradient(row, column),
        gradient(row + 1u, column),
        gradient(row + 2u, column),
        gradient(row + 3u, column),
    );
}

// As on the way forward, a row too many is the last one once more.
fn gradient(row: u32, column: u32) -> f32 {
    return dy[min(row, run.rows - 1u) * DY_STRIDE + min(column, DY_STRIDE - 1u)];
}

// Step `i` of the weights; zeros beyond the last one.
fn weights_at(owner: u32, k: u32, i: u32, end: u32) -> vec4<f32> {
    let weights = own(weight(step.second + k + min(i, end - 1u), owner));
    return select(vec4<f32>(0.0), weights, i < end);
}

// Step `k + i` of the depth is at place `i`.
fn multiply(owner: u32, k: u32, begin: u32, end: u32, before: Sums) -> Sums {
    var sums = before;
    for (var i = begin; i < end; i += 4u) {
        let held = hold(i);
        sums = add(sums, weights_at(owner, k, i, end), rows_0(held));
        sums = add(sums, weights_at(owner, k, i + 1u, end), rows_1(held));
        sums = add(sums, weights_at(owner, k, i + 2u, end), rows_2(held));
        sums = add(sums, weights_at(owner, k, i + 3u, end), rows_3(held));
    }
    return sums;
}

// What is made from a chunk stands among the rows of the pass.
fn output_row(row: u32) -> u32 {
    return run.first + row;
}
