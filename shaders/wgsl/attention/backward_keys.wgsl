// The gradients of four keys and values. The query heads that share them are processed one after
// another, each with all queries that attend to them: dv = dropout(p)^T da and dk = SCALE ds^T q,
// with p and ds as in `attention/backward_queries`. An invocation computes p and ds of one query,
// and sums four columns.

@group(1) @binding(1) var<storage, read> lse: array<f32>;
@group(1) @binding(2) var<storage, read> delta: array<f32>;
@group(1) @binding(4) var<storage, read_write> d_qkv: array<f32>;

// Workgroup memory begins with the keys, column by column; the ranges below follow. After the last
// block, the sums of the slices (see `attention/tile`) overwrite it from the start.

// The values, column by column.
const VALUES: u32 = TILE_COLUMNS;
// SCALE ds of each query of the block: the weight of its q in dk.
const K_WEIGHTS: u32 = 2u * TILE_COLUMNS;
// dropout(p) of each query of the block: the weight of its da in dv.
const V_WEIGHTS: u32 = 2u * TILE_COLUMNS + WORKGROUP_SIZE;
const SCRATCH_SIZE: u32 = max(2u * TILE_COLUMNS + 2u * WORKGROUP_SIZE, 4u * WORKGROUP_SIZE);

fn work(group: vec3<u32>, invocation: u32) {
    let start = group.z * pass_uniform.tokens;
    let first = group.y * 4u;
    let keys = tile_rows(first);
    let k = (start + keys) * QKV_STRIDE + Q_WIDTH + group.x * HEAD_DIM;
    let v = k + KV_WIDTH;
    for (var i = 4u * invocation; i < HEAD_DIM; i += 4u * WORKGROUP_SIZE) {
        // Stored column by column.
        let own_keys = qkv_columns(k, i);
        let own_values = qkv_columns(v, i);
        for (var c = 0u; c < 4u; c++) {
            scratch[i + c] = SCALE * own_keys[c];
            scratch[VALUES + i + c] = own_values[c];
        }
    }
    let slice = invocation / ROW_INVOCATIONS;
    // Columns beyond the last quad are clamped to it, and the results are discarded. A query beyond
    // the last is also clamped, and its weight is zero. Addresses advance as in
    // `attention/forward`.
    let column = min(4u * (invocation % ROW_INVOCATIONS), (HEAD_DIM - 1u) / 4u * 4u);
    var d_k = mat4x4<f32>();
    var d_v = mat4x4<f32>();
    for (var head = group.x * GROUP; head < (group.x + 1u) * GROUP; head++) {
        let q = start * QKV_STRIDE + head * HEAD_DIM;
        let d = start * A_STRIDE + head * HEAD_DIM;
        let last = pass_uniform.tokens - 1u;
        let from_row = first_visible_query(first);
        let end_row = end_visible_query(keys.w);
        let own_row = min(from_row + invocation, last);
        var q_at = q + own_row * QKV_STRIDE;
        var d_at = d + own_row * A_STRIDE;
        var q_gather = q + (from_row + 8u * slice) * QKV_STRIDE;
        var d_gather = d + (from_row + 8u * slice) * A_STRIDE;
        let q_last = q + last * QKV_STRIDE;
        let d_last = d + last * A_STRIDE;
        workgroupBarrier();
        for (var block = from_row; block < end_row; block += WORKGROUP_SIZE) {
            let query = min(block + invocation, last);
            var score = vec4<f32>(0.0);
            var d_p = vec4<f32>(0.0);
            // Eight neighbours take the branch together, as `row_products` requires.
            if block + invocation / 8u * 8u < end_row {
                score = score_of(row_products(q_at, 0u));
                d_p = gradient_products(d_at, VALUES);
            }
            let row_at = (start + query) * HEADS + head;
            let dropout_at = ((group.z * HEADS + head) * pass_uniform.tokens + query) * pass_uniform.tokens + keys;
            let keep_scale = dropout_scales(dropout_at);
            let p = exp(clamp(biased(score, head, vec4<f32>(keys), vec4<f32>(f32(query))) - lse[row_at], vec4<f32>(-87.0), vec4<f32>(87.0)));
            let limit = select(0u, visible_keys(query), block + invocation < end_row);
            let sees = (keys >= vec4<u32>(first_key(query))) & (keys < vec4<u32>(limit));
            scratch[V_WEIGHTS + invocation] = select(vec4<f32>(0.0), keep_scale * p, sees);
            scratch[K_WEIGHTS + invocation] = select(vec4<f32>(0.0), SCALE * score_slope(score) * p * (keep_scale * d_p - delta[row_at]), sees);
            workgroupBarrier();
            let end = min(WORKGROUP_SIZE, end_row - block);
            for (var i = 0u; i < end; i += 8u * SLICES) {
                if i + 8u * slice < end {
                    let k_weights = shared_read(K_WEIGHTS + i + 8u * slice);
                    let v_weights = shared_read(V_WEIGHTS + i + 8u * slice);
                    var x_at = q_gather;
                    var y_at = d_gather;
                    for (var j = 0u; j < 8u; j++) {
                        let x = qkv_quad(min(x_at, q_last), column);
                        let y = da_quad(min(y_at, d_last), column);
                        x_at += QKV_STRIDE;
                        y_at += A_STRIDE;
                        d_k += weighted_columns(x, shared_value(k_weights, j));
                        d_v += weighted_columns(y, shared_value(v_weights, j));
                    }
                }
                q_gather += 8u * SLICES * QKV_STRIDE;
                d_gather += 8u * SLICES * A_STRIDE;
            }
            q_at = min(q_at + WORKGROUP_SIZE * QKV_STRIDE, q_last);
            d_at = min(d_at + WORKGROUP_SIZE * A_STRIDE, d_last);
            workgroupBarrier();
        }
    }

    store_slice(slice, invocation % ROW_INVOCATIONS, d_v);
    workgroupBarrier();
    for (var i = invocation; i < HEAD_DIM; i += WORKGROUP_SIZE) {
        store_gradient(start, first, group.x * HEAD_DIM + i + KV_WIDTH, sum_slices(i));
    }
    workgroupBarrier();
    store_slice(slice, invocation % ROW_INVOCATIONS, d_k);
    workgroupBarrier();
    // A pair of columns rotates together.
    for (var even = 2u * invocation; even < HEAD_DIM; even += 2u * WORKGROUP_SIZE) {
        var x = sum_slices(even);
        var y = vec4<f32>(0.0);
        if even + 1u < HEAD_DIM {
            y = sum_slices(even + 1u);
        }
        for (var r = 0u; r < 4u; r++) {
            let position = min(first + r, pass_uniform.tokens - 1u);
            let pair = rotate_pair(position, even, vec2<f32>(x[r], y[r]), -1.0);
            x[r] = pair.x;
            y[r] = pair.y;
        }
        store_gradient(start, first, group.x * HEAD_DIM + even, x);
        if even + 1u < HEAD_DIM {
            store_gradient(start, first, group.x * HEAD_DIM + even + 1u, y);
        }
    }
}

// Stores a column of the gradient of keys or values, for those of the four rows that exist.
fn store_gradient(start: u32, first: u32, column: u32, values: vec4<f32>) {
    for (var i = 0u; i < 4u; i++) {
        if first + i < pass_uniform.tokens {
            d_qkv[(start + first + i) * QKV_STRIDE + Q_WIDTH + column] = values[i];
        }
    }
}

// Like `row_products`, for a row of the gradient of the output.
fn gradient_products(at: u32, columns_at: u32) -> RowValues {
    var sum = RowValues(0.0);
    for (var i = 0u; i < HEAD_DIM; i += 8u) {
        let columns = shared_read(columns_at + i);
        for (var j = 0u; j < min(8u, HEAD_DIM - i); j += 4u) {
            sum = add_products(sum, da_quad(at, i + j), columns, j);
        }
    }
    return sum;
}
