// The functions that the attention kernels of training share. A workgroup computes a tile of four
// rows, queries or keys. It reads the other rows of the sequence (keys for a tile of queries,
// queries for a tile of keys) in blocks of WORKGROUP_SIZE rows.
//
// The kernels sum the rows of a block, each multiplied by a weight for each row of the tile. For
// this the invocations are divided into SLICES slices. The slices take turns, eight rows of a block
// at a time. The ROW_INVOCATIONS invocations of a slice sum its rows, four columns each. After the
// last block, the sums of the slices are added in workgroup memory.

// A value for each row of the tile.
alias RowValues = vec4<f32>;
alias ScratchValue = RowValues;
alias Scores = RowValues;

// The number of slices.
const SLICES: u32 = WORKGROUP_SIZE / ROW_INVOCATIONS;
// The columns of a slice, four for each of its invocations. There may be more than HEAD_DIM;
// results in columns from HEAD_DIM on are discarded.
const TILE_COLUMNS: u32 = 4u * ROW_INVOCATIONS;

var<workgroup> scratch: array<ScratchValue, SCRATCH_SIZE>;

// The rows of the tile that begins at `first`. A row beyond the last is clamped to it; the result
// is discarded.
fn tile_rows(first: u32) -> vec4<u32> {
    return min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(pass_uniform.tokens - 1u));
}

// Four columns, from `column` on, of the rows at four addresses: one vector for each column.
fn qkv_columns(at: vec4<u32>, column: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(qkv_quad(at.x, column), qkv_quad(at.y, column), qkv_quad(at.z, column), qkv_quad(at.w, column)));
}

// The first key that each of four queries attends to.
fn first_keys_of(queries: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(first_key(queries.x), first_key(queries.y), first_key(queries.z), first_key(queries.w));
}

// The end of the keys that each of four queries attends to.
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

// Stores columns 4 quad to 4 quad + 3 of slice `slice`.
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

// The products of a row at `at` with each row of the tile, whose columns begin at `columns_at` in
// workgroup memory. Eight neighbouring invocations call this together, because `shared_read`
// requires it: each of them may read one of eight columns and get the others from its neighbours.
fn row_products(at: u32, columns_at: u32) -> RowValues {
    var sum = RowValues(0.0);
    for (var i = 0u; i < HEAD_DIM; i += 8u) {
        let columns = shared_read(columns_at + i);
        for (var j = 0u; j < min(8u, HEAD_DIM - i); j += 4u) {
            sum = add_products(sum, qkv_quad(at, i + j), columns, j);
        }
    }
    return sum;
}

// Adds the products of four columns of a row with the same columns of the tile, which are those
// from `j` on in `columns`.
fn add_products(sum: RowValues, row: vec4<f32>, columns: SharedRead, j: u32) -> RowValues {
    var next = sum;
    for (var c = 0u; c < 4u; c++) {
        next = fma(RowValues(row[c]), shared_value(columns, j + c), next);
    }
    return next;
}

// Adds four columns, from `column` on, of the weighted rows of slice `slice` in a block. The block
// has `end` rows, whose weights begin at `weights_at` in workgroup memory. `first` is the address
// of the slice's first row. An address beyond `last` is clamped to it; the weight of such a row is
// zero.
fn add_weighted_rows(
    sums: mat4x4<f32>,
    weights_at: u32,
    end: u32,
    slice: u32,
    first: u32,
    last: u32,
    column: u32,
) -> mat4x4<f32> {
    var next = sums;
    var slice_at = first;
    for (var i = 8u * slice; i < end; i += 8u * SLICES) {
        let weights = shared_read(weights_at + i);
        var at = slice_at;
        for (var j = 0u; j < 8u; j++) {
            let columns = qkv_quad(min(at, last), column);
            at += QKV_STRIDE;
            next += weighted_columns(columns, shared_value(weights, j));
        }
        slice_at += 8u * SLICES * QKV_STRIDE;
    }
    return next;
}
