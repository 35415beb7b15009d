// dW = dy^T x: the depth is the rows of the pass, and both operands lie across it as they are needed.
//
// A matrix may begin within dy, where only a part of it is worked on. What lies behind the last column of either operand makes sums that are
// dropped.

// Quads from a row of dy, and of x, to the next.
const DY_QUADS: u32 = 580u;
const X_QUADS: u32 = 196u;

struct Run { tokens: u32, rows: u32, first: u32, replace: u32, scale: f32, key: u32, threshold: u32, keep: f32 }
@group(0) @binding(0) var<uniform> run: Run;
struct Step { first: u32, rows: u32, second: u32, site: u32, adds: u32 }
@group(0) @binding(1) var<uniform> step: Step;

var<workgroup> left: array<vec4<f32>, 256>;
var<workgroup> right: array<vec4<f32>, 256>;

fn put_left(depth: u32, quad: u32, rows: mat4x4<f32>) {
    left[depth + quad] = rows[0];
}
// ---- end of parameters ----

@group(1) @binding(0) var<storage, read> dy: array<vec4<f32>>;
@group(1) @binding(1) var<storage, read> x: array<vec4<f32>>;

fn depth() -> u32 {
    return run.rows;
}

fn height() -> u32 {
    return step.rows;
}

fn stage(tile: vec2<u32>, k: u32, lane: u32) {
    put(tile, k, lane);
    put(tile, k, lane + 64u);
    put(tile, k, lane + 128u);
    put(tile, k, lane + 192u);
}

// Rows that do not exist count as zero.
fn put(tile: vec2<u32>, k: u32, i: u32) {
    let row = min(k + i / 16u, run.rows - 1u);
    let quad = i % 16u;
    let d = dy[row * DY_QUADS + step.first / 4u + tile.y * 16u + quad];
    left[i] = select(vec4<f32>(0.0), d, k + i / 16u < run.rows);
    right[i] = x[(run.first + row) * X_QUADS + tile.x * 16u + quad];
}
