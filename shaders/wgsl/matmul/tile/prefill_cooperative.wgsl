// Multiplies the rows of a prompt with cooperative-matrix instructions (tensor cores): a subgroup
// multiplies two matrices of 16 x 16 at once. Operands are f16, sums are f32.
//
// A cooperative matrix cannot be loaded from a panel, so weights are staged in workgroup memory,
// sixteen columns at a time. To save memory, each half of the strips is staged separately.

alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;

// Columns of the inputs that are staged at a time.
const STAGED_COLUMNS: u32 = STAGED_BLOCKS * BLOCK_QUADS * 4u;
// The same, rounded up to a multiple of sixteen.
const PITCH: u32 = (STAGED_COLUMNS + 15u) / 16u * 16u;

// [row][column].
var<workgroup> staged_inputs: array<f16, 16u * PITCH>;
// [subgroup][feature of two strips][column].
var<workgroup> staged_weights: array<f16, 2u * 64u * 16u>;

// Stages sixteen columns, from quad `first` on, of the strips `strip` and `strip + 2`.
fn stage(strip: u32, first: u32) {
    for (var i = subgroup.lane; i < 64u * 4u; i += 32u) {
        let feature = i / 4u;
        let column = first + i % 4u;
        var values = vec4<f32>(0.0);
        if column < BLOCKS * BLOCK_QUADS {
            let row = 32u * min(strip + feature / 32u * 2u, LAST_STRIP) + feature % 32u;
            values = quad(load(row, column / BLOCK_QUADS), column % BLOCK_QUADS);
        }
        let at = (subgroup.number * 64u + feature) * 16u + i % 4u * 4u;
        for (var j = 0u; j < 4u; j++) {
            staged_weights[at + j] = f16(values[j]);
        }
    }
}

// Sixteen staged features. A column of this matrix is a row of weights.
fn staged_features(feature: u32) -> Right {
    return coopLoad<Right>(&staged_weights[(subgroup.number * 64u + feature) * 16u], 16u);
}

fn multiply(first: u32, strip: u32, invocation: u32) -> Sums {
    let own = strip + subgroup.number;
    a_0 = Sum();
    a_1 = Sum();
    b_0 = Sum();
    b_1 = Sum();
    c_0 = Sum();
    c_1 = Sum();
    d_0 = Sum();
    d_1 = Sum();
    for (var start = 0u; start < BLOCKS; start += STAGED_BLOCKS) {
        workgroupBarrier();
        for (var i = invocation; i < PITCH; i += WORKGROUP_SIZE) {
            let column = start * BLOCK_QUADS * 4u + i;
            let scale_shift = affine(column);
            for (var r = 0u; r < 16u; r++) {
                // Columns from STAGED_COLUMNS on are staged in the next iteration.
                staged_inputs[r * PITCH + i] = f16(select(0.0, input(r, first + r, column, scale_shift), i < STAGED_COLUMNS));
            }
        }
        let columns = min(STAGED_BLOCKS, BLOCKS - start) * BLOCK_QUADS * 4u;
        for (var k = 0u; k < columns; k += 16u) {
            let quads = start * BLOCK_QUADS + k / 4u;
            workgroupBarrier();
            stage(own, quads);
            workgroupBarrier();
            let inputs = coopLoadT<Left>(&staged_inputs[k], PITCH);
            a_0 = coopMultiplyAdd(inputs, staged_features(0u), a_0);
            a_1 = coopMultiplyAdd(inputs, staged_features(16u), a_1);
            b_0 = coopMultiplyAdd(inputs, staged_features(32u), b_0);
            b_1 = coopMultiplyAdd(inputs, staged_features(48u), b_1);
            workgroupBarrier();
            stage(own + 4u, quads);
            workgroupBarrier();
            c_0 = coopMultiplyAdd(inputs, staged_features(0u), c_0);
            c_1 = coopMultiplyAdd(inputs, staged_features(16u), c_1);
            d_0 = coopMultiplyAdd(inputs, staged_features(32u), d_0);
            d_1 = coopMultiplyAdd(inputs, staged_features(48u), d_1);
        }
    }
    return Sums(0u);
}
