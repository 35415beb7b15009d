// The gradient of four queries of a head. Probabilities p are recomputed from the log-sum-exps of
// the forward pass. With dp = dropout(da v^T), the gradient of the products of queries and keys is
// ds = p (dp - delta), times the slope of the score, and dq = SCALE ds k. The work is divided as in
// the forward pass: an invocation computes the ds of one key, and sums four columns of dq.

@group(1) @binding(1) var<storage, read> lse: array<f32>;
@group(1) @binding(2) var<storage, read> delta: array<f32>;
@group(1) @binding(4) var<storage, read_write> d_qkv: array<f32>;

// Workgroup memory begins with the queries, column by column; the ranges below follow. After the
// last block, the sums of the slices (see `attention/tile`) overwrite it from the start.

// da of the queries, column by column.
const GRADIENTS: u32 = TILE_COLUMNS;
// SCALE ds of each key of the block: the weight of the key in dq.
const WEIGHTS: u32 = 2u * TILE_COLUMNS;
const SCRATCH_SIZE: u32 = max(2u * TILE_COLUMNS + WORKGROUP_SIZE, 4u * WORKGROUP_SIZE);

fn work(group: vec3<u32>, invocation: u32) {
    let head = group.x;
    let start = group.z * pass_uniform.tokens;
    let first = group.y * 4u;
    let queries = tile_rows(first);
    let q = (start + queries) * QKV_STRIDE + head * HEAD_DIM;
    let d = (start + queries) * A_STRIDE + head * HEAD_DIM;
    for (var i = 4u * invocation; i < HEAD_DIM; i += 4u * WORKGROUP_SIZE) {
        // Stored column by column.
        let columns = qkv_columns(q, i);
        let gradients = transpose(mat4x4<f32>(da_quad(d.x, i), da_quad(d.y, i), da_quad(d.z, i), da_quad(d.w, i)));
        for (var c = 0u; c < 4u; c++) {
            scratch[i + c] = SCALE * columns[c];
            scratch[GRADIENTS + i + c] = gradients[c];
        }
    }
    let row_at = (start + queries) * HEADS + head;
    let log_sum = vec4<f32>(lse[row_at.x], lse[row_at.y], lse[row_at.z], lse[row_at.w]);
    let row_delta = vec4<f32>(delta[row_at.x], delta[row_at.y], delta[row_at.z], delta[row_at.w]);
    let limit = visible_keys_of(queries);
    let floor = first_keys_of(queries);
    let from_key = floor.x;
    let keys = limit.w;
    let dropout_at = ((group.z * HEADS + head) * pass_uniform.tokens + queries) * pass_uniform.tokens;
    let slice = invocation / ROW_INVOCATIONS;
    // Columns beyond the last quad are clamped to it, and the results are discarded. A key beyond
    // the last is also clamped, and its weight is zero. Addresses advance as in
    // `attention/forward`.
    let column = min(4u * (invocation % ROW_INVOCATIONS), (HEAD_DIM - 1u) / 4u * 4u);
    let k = start * QKV_STRIDE + Q_WIDTH + head / GROUP * HEAD_DIM;
    let last = k + (keys - 1u) * QKV_STRIDE;
    var key_at = min(k + (from_key + invocation) * QKV_STRIDE, last);
    var gather_at = k + (from_key + 8u * slice) * QKV_STRIDE;
    workgroupBarrier();

    var d_q = mat4x4<f32>();
    for (var block = from_key; block < keys; block += WORKGROUP_SIZE) {
        let key = block + invocation;
        var score = vec4<f32>(0.0);
        var d_p = vec4<f32>(0.0);
        // Eight neighbours take the branch together, as `row_products` requires.
        if block + invocation / 8u * 8u < keys {
            score = score_of(row_products(key_at, 0u));
            d_p = row_products(key_at + KV_WIDTH, GRADIENTS);
        }
        let keep_scale = dropout_scales(dropout_at + key);
        let p = exp(clamp(biased(score, head, vec4<f32>(f32(key)), vec4<f32>(queries)) - log_sum, vec4<f32>(-87.0), vec4<f32>(87.0)));
        let d_score = SCALE * score_slope(score) * p * (keep_scale * d_p - row_delta);
        let sees = (vec4<u32>(key) >= floor) & (vec4<u32>(key) < limit);
        scratch[WEIGHTS + invocation] = select(vec4<f32>(0.0), d_score, sees);
        workgroupBarrier();
        let end = min(WORKGROUP_SIZE, keys - block);
        d_q = add_weighted_rows(d_q, WEIGHTS, end, slice, gather_at, last, column);
        gather_at += WORKGROUP_SIZE * QKV_STRIDE;
        key_at = min(key_at + WORKGROUP_SIZE * QKV_STRIDE, last);
        workgroupBarrier();
    }

    store_slice(slice, invocation % ROW_INVOCATIONS, d_q);
    workgroupBarrier();
    // A pair of columns rotates together.
    for (var even = 2u * invocation; even < HEAD_DIM; even += 2u * WORKGROUP_SIZE) {
        let x = sum_slices(even);
        var y = vec4<f32>(0.0);
        if even + 1u < HEAD_DIM {
            y = sum_slices(even + 1u);
        }
        for (var r = 0u; r < 4u; r++) {
            if first + r < pass_uniform.tokens {
                let pair = rotate_pair(first + r, even, vec2<f32>(x[r], y[r]), -1.0);
                let at = (start + first + r) * QKV_STRIDE + head * HEAD_DIM + even;
                d_qkv[at] = pair.x;
                if even + 1u < HEAD_DIM {
                    d_qkv[at + 1u] = pair.y;
                }
            }
        }
    }
}
