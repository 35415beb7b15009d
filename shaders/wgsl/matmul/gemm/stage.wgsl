// Stages rows of the left operand, whose depth is along a row. An invocation reads a quad of each
// of four rows, and transposes them to four steps of the depth.

fn stage(first: u32, k: u32, i: u32) {
    let quad = i / 32u * 8u + i % 8u;
    let quarter = i / 8u % 4u;
    let row = first + 4u * quarter;
    let own = (depth_start() + k) / 4u + quad;
    // By step.
    let steps = transpose(Rows(
        operand_quad(row, own),
        operand_quad(row + 1u, own),
        operand_quad(row + 2u, own),
        operand_quad(row + 3u, own),
    ));
    stage_rows(4u * quad, quarter, steps[0]);
    stage_rows(4u * quad + 1u, quarter, steps[1]);
    stage_rows(4u * quad + 2u, quarter, steps[2]);
    stage_rows(4u * quad + 3u, quarter, steps[3]);
}
