// dx = dy W: dy lies with its depth along a row and is turned, W does not.
//
// The depth is the rows of W, or some of them: a long sum is made in pieces. Padding rows are zero, and so is dy where they begin.

// Quads from a row of dy to the next.
const DY_QUADS: u32 = 580u;

struct Run { tokens: u32, rows: u32, first: u32, replace: u32, scale: f32, key: u32, threshold: u32, keep: f32 }
@group(0) @binding(0) var<uniform> run: Run;
struct Step { first: u32, rows: u32, second: u32, site: u32, adds: u32 }
@group(0) @binding(1) var<uniform> step: Step;

var<workgroup> left: array<vec4<f32>, 256>;
var<workgroup> right: array<vec4<f32>, 256>;

fn put_left(depth: u32, quad: u32, rows: mat4x4<f32>) {
    left[depth + quad] = rows[0];
}

fn weight(row: u32, quad: u32) -> vec4<f32> {
    return vec4<f32>(f32(row + quad));
}
// ---- end of parameters ----

@group(1) @binding(0) var<storage, read> dy: array<vec4<f32>>;

fn depth() -> u32 {
    return step.rows;
}

fn height() -> u32 {
    return run.rows;
}

// As on the way forward, a row too many is the last one once more. Columns that do not exist are dropped.
fn stage(tile: vec2<u32>, k: u32, lane: u32) {
    let rows = lane / 4u;
    let along = lane % 4u;
    let quad = (step.first + k) / 4u + along;
    let first = tile.y * 64u + rows * 4u;
    put_left(along * 4u, rows, mat4x4<f32>(
        gradient(first, quad),
        gradient(first + 1u, quad),
        gradient(first + 2u, quad),
        gradient(first + 3u, quad),
    ));
    let at = step.second + k + lane / 16u;
    let column = tile.x * 16u + lane % 16u;
    right[lane] = weight(at, column);
    right[lane + 64u] = weight(at + 4u, column);
    right[lane + 128u] = weight(at + 8u, column);
    right[lane + 192u] = weight(at + 12u, column);
}

fn gradient(row: u32, quad: u32) -> vec4<f32> {
    return dy[min(row, run.rows - 1u) * DY_QUADS + quad];
}

// What is made from a chunk stands among the rows of the pass.
fn output_row(row: u32) -> u32 {
    return run.first + row;
}
