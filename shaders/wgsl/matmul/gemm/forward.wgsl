// y = x W^T: both operands lie with their depth along a row. Four steps of the depth are one quad of each of an invocation's four rows of W.

@group(1) @binding(0) var<storage, read> x: array<vec4<f32>>;

fn depth() -> u32 {
    return COLUMNS;
}

fn height() -> u32 {
    return pass_uniform.rows;
}

fn stage(first: u32, k: u32, i: u32) {
    let quad = i / 32u * 8u + i % 8u;
    let quarter = i / 8u % 4u;
    let row = first + 4u * quarter;
    let own = k / 4u + quad;
    // By step.
    let steps = transpose(Rows(x_quad(row, own), x_quad(row + 1u, own), x_quad(row + 2u, own), x_quad(row + 3u, own)));
    stage_rows(4u * quad, quarter, steps[0]);
    stage_rows(4u * quad + 1u, quarter, steps[1]);
    stage_rows(4u * quad + 2u, quarter, steps[2]);
    stage_rows(4u * quad + 3u, quarter, steps[3]);
}

// A row that does not exist is the last one once more, and its products are dropped. Behind the last column x is zero, as far as a quad goes.
fn x_quad(row: u32, quad: u32) -> vec4<f32> {
    return x[(pass_uniform.first + min(row, pass_uniform.rows - 1u)) * (X_STRIDE / 4u) + min(quad, X_STRIDE / 4u - 1u)];
}

// Step `k + i` of the depth is at place `i`.
fn multiply(own_rows: vec4<u32>, k: u32, begin: u32, end: u32, before: Sums) -> Sums {
    var sums = before;
    var quad = (k + begin) / 4u;
    for (var i = begin; i < end; i += 4u) {
        // By step of the depth.
        let weights = transpose(mat4x4<f32>(
            round_operand(feature_weight(own_rows, 0u, quad)),
            round_operand(feature_weight(own_rows, 1u, quad)),
            round_operand(feature_weight(own_rows, 2u, quad)),
            round_operand(feature_weight(own_rows, 3u, quad)),
        ));
        quad++;
        let broadcast = row_broadcast(i);
        sums = add_products(sums, weights[0], broadcast_rows_0(broadcast));
        sums = add_products(sums, weights[1], broadcast_rows_1(broadcast));
        sums = add_products(sums, weights[2], broadcast_rows_2(broadcast));
        sums = add_products(sums, weights[3], broadcast_rows_3(broadcast));
    }
    return sums;
}

// What a chunk makes stands in rows of its own.
fn output_row(row: u32) -> u32 {
    return row;
}
