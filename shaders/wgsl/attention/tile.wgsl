// The parts that the kernels of training share. A workgroup has a tile of four rows, queries or
// keys; an invocation sums four columns of a slice, and sums over the slices go through workgroup
// memory.

// Four rows.
alias Queries = vec4<f32>;
alias ScratchValue = Queries;

// Sets of invocations that own a row each; columns of a set, some of which may not exist.
const SLICES: u32 = WORKGROUP_SIZE / ROW_INVOCATIONS;
const TILE: u32 = 4u * ROW_INVOCATIONS;

var<workgroup> scratch: array<ScratchValue, SCRATCH_SIZE>;

// The rows of the tile that begins at `first`. A row beyond the last is clamped to it; the result
// is discarded.
fn tile_rows(first: u32) -> vec4<u32> {
    return min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(pass_uniform.tokens - 1u));
}

// Columns `column ..` of four rows of a head, by column.
fn qkv_columns(at: vec4<u32>, column: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(qkv_quad(at.x, column), qkv_quad(at.y, column), qkv_quad(at.z, column), qkv_quad(at.w, column)));
}

// Keys that each of four queries attends to.
fn visible_keys_of(queries: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(visible_keys(queries.x), visible_keys(queries.y), visible_keys(queries.z), visible_keys(queries.w));
}

// The dropout factors of four elements.
fn dropout_scales(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(dropout_scale(at.x), dropout_scale(at.y), dropout_scale(at.z), dropout_scale(at.w));
}

// Four columns of a row, weighted for each row of the tile.
fn weighted_columns(columns: vec4<f32>, weights: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(columns.x * weights, columns.y * weights, columns.z * weights, columns.w * weights);
}

// Stores columns `4 quad ..` of slice `slice`.
fn store_slice(slice: u32, quad: u32, sums: mat4x4<f32>) {
    let at = 4u * (slice * ROW_INVOCATIONS + quad);
    scratch[at] = sums[0];
    scratch[at + 1u] = sums[1];
    scratch[at + 2u] = sums[2];
    scratch[at + 3u] = sums[3];
}

// A column, summed over all slices.
fn sum_slices(column: u32) -> ScratchValue {
    var sum = scratch[column];
    for (var slice = 1u; slice < SLICES; slice++) {
        sum += scratch[4u * slice * ROW_INVOCATIONS + column];
    }
    return sum;
}
