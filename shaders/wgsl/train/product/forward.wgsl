// y = x W^T: both operands lie with their depth along a row, so both are turned.

const COLUMNS: u32 = 768u;
// Quads from a row of x to the next.
const X_QUADS: u32 = 196u;

struct Run { tokens: u32, rows: u32, first: u32, replace: u32, scale: f32, key: u32, threshold: u32, keep: f32 }
@group(0) @binding(0) var<uniform> run: Run;

var<workgroup> left: array<vec4<f32>, 256>;
var<workgroup> right: array<vec4<f32>, 256>;

fn put_left(depth: u32, quad: u32, rows: mat4x4<f32>) {
    left[depth + quad] = rows[0];
}

fn feature_weight(tile: u32, local: u32, quad: u32) -> vec4<f32> {
    return vec4<f32>(f32(tile + local + quad));
}
// ---- end of parameters ----

@group(1) @binding(0) var<storage, read> x: array<vec4<f32>>;

fn depth() -> u32 {
    return COLUMNS;
}

fn height() -> u32 {
    return run.rows;
}

// A row that does not exist is the last one once more, and its products are dropped. Behind the last column x is zero.
fn stage(tile: vec2<u32>, k: u32, lane: u32) {
    let rows = lane / 4u;
    let along = lane % 4u;
    let quad = k / 4u + along;
    let first = tile.y * 64u + rows * 4u;
    put_left(along * 4u, rows, mat4x4<f32>(
        input(first, quad),
        input(first + 1u, quad),
        input(first + 2u, quad),
        input(first + 3u, quad),
    ));
    let weights = transpose(mat4x4<f32>(
        feature_weight(tile.x, rows * 4u, quad),
        feature_weight(tile.x, rows * 4u + 1u, quad),
        feature_weight(tile.x, rows * 4u + 2u, quad),
        feature_weight(tile.x, rows * 4u + 3u, quad),
    ));
    right[along * 64u + rows] = weights[0];
    right[along * 64u + 16u + rows] = weights[1];
    right[along * 64u + 32u + rows] = weights[2];
    right[along * 64u + 48u + rows] = weights[3];
}

fn input(row: u32, quad: u32) -> vec4<f32> {
    return x[(run.first + min(row, run.rows - 1u)) * X_QUADS + quad];
}

// What a chunk makes stands in rows of its own.
fn output_row(row: u32) -> u32 {
    return row;
}
