// y = x W^T: the depth of both operands is along a row. Four steps of the depth are one quad of
// each of an invocation's four rows of W.

@group(1) @binding(0) var<storage, read> x: array<vec4<f32>>;

fn depth() -> u32 {
    return COLUMNS;
}

fn height() -> u32 {
    return pass_uniform.rows;
}

fn depth_start() -> u32 {
    return 0u;
}

// A row beyond the last is clamped to it; its products are discarded. After the last column x is
// zero up to a whole quad.
fn operand_quad(row: u32, quad: u32) -> vec4<f32> {
    return x[(pass_uniform.first + min(row, pass_uniform.rows - 1u)) * (X_STRIDE / 4u) + min(quad, X_STRIDE / 4u - 1u)];
}

// Step `k + i` of the depth is staged at `i`.
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

// The output begins at row 0, even for a range of rows: the buffer of logits holds one range.
fn output_row(row: u32) -> u32 {
    return row;
}
