// Divides the dot products of a matrix-vector product among a workgroup, and sums their slices.
//
// Eight neighbouring invocations own the eight rows of a panel and one slice of its blocks. The
// next eight own the same rows and the next slice, so a workgroup reads panels from beginning to
// end.

// Invocations that compute the norm's statistics of the row.
const ROW_INVOCATIONS: u32 = WORKGROUP_SIZE;
// Iterations that store the sums.
const ITERATIONS: u32 = 1u;
// Output features of a workgroup.
const FEATURES: u32 = TILE_N * 32u / HALVES;
// Blocks of a slice, among those that are staged at a time.
const SLICE_BLOCKS: u32 = (STAGED_BLOCKS + SLICES - 1u) / SLICES;

alias Sums = array<f32, TILE_N>;

// [feature / 32][slice][feature % 32].
var<workgroup> shared_sums: array<f32, TILE_N * WORKGROUP_SIZE>;

// Four normalised inputs.
fn input_quad(first: u32, column: u32) -> vec4<f32> {
    return vec4<f32>(
        input(0u, first, column, affine(column)),
        input(0u, first, column + 1u, affine(column + 1u)),
        input(0u, first, column + 2u, affine(column + 2u)),
        input(0u, first, column + 3u, affine(column + 3u)),
    );
}

fn slice_of(invocation: u32) -> u32 {
    return invocation / 8u % SLICES;
}

// The row of a strip that an invocation owns.
fn row_of(invocation: u32) -> u32 {
    return invocation / (8u * SLICES) * 8u + invocation % 8u;
}

// A block of row `row` of strip `strip`. A strip that does not exist is clamped to the last one;
// the result is discarded.
fn load_strip(strip: u32, row: u32, block: u32) -> Block {
    return load(32u * min(strip, LAST_STRIP) + row, block);
}

// Stores all sums where `output_sum` reads them.
fn store_sums(sums: Sums, iteration: u32, invocation: u32) {
    for (var i = 0u; i < TILE_N; i++) {
        shared_sums[i * WORKGROUP_SIZE + slice_of(invocation) * 32u + row_of(invocation)] = sums[i];
    }
    workgroupBarrier();
}

// Feature `local` of the workgroup.
fn output_sum(r: u32, local: u32) -> f32 {
    var sum = 0.0;
    for (var slice = 0u; slice < SLICES; slice++) {
        sum += shared_sums[local / 32u * WORKGROUP_SIZE + slice * 32u + local % 32u];
    }
    return sum;
}
