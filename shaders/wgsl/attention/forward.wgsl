// a = dropout(softmax(scores of q and k)) v for one head and four queries of a sequence. Only the
// log-sum-exp of each query's scores is stored; the backward pass recomputes the probabilities from
// it.
//
// As in `attention/cached`, a block of keys has one key for each invocation, and sums are rescaled
// when a later block raises the maximum. For the weighted sum of the values, the keys of a block
// are divided into SLICES slices, and an invocation sums four columns over the keys of one slice
// (`attention/tile`). Dropout applies to the numerator of the softmax only.
//
// Some drivers (lavapipe) run a kernel as a loop over the invocations. In every iteration they
// compute the address of a read again, with everything that it depends on. A variable that is live
// across a barrier is loaded instead. So the address of the next read is a variable that advances
// before a barrier.

@group(1) @binding(1) var<storage, read_write> lse: array<f32>;
@group(1) @binding(4) var<storage, read_write> a: array<f32>;

const LOWEST: f32 = -3.4e38;

// Workgroup memory first holds the queries, column by column, then the ranges below. After the last
// block, sums overwrite it from the start.

// The weights of a block: the exponentials of its scores, after dropout.
const WEIGHTS: u32 = TILE_COLUMNS;
// Space for `workgroup_max`.
const PARTIALS: u32 = TILE_COLUMNS + WORKGROUP_SIZE;
const SCRATCH_SIZE: u32 = max(TILE_COLUMNS + 2u * WORKGROUP_SIZE, 4u * WORKGROUP_SIZE);

fn work(group: vec3<u32>, invocation: u32) {
    let head = group.x;
    let start = group.z * pass_uniform.tokens;
    let first = group.y * 4u;
    let queries = tile_rows(first);
    let q = (start + queries) * QKV_STRIDE + head * HEAD_DIM;
    for (var i = 4u * invocation; i < HEAD_DIM; i += 4u * WORKGROUP_SIZE) {
        // Stored column by column.
        let columns = qkv_columns(q, i);
        for (var c = 0u; c < 4u; c++) {
            scratch[i + c] = SCALE * columns[c];
        }
    }
    let limit = visible_keys_of(queries);
    let floor = first_keys_of(queries);
    let from_key = floor.x;
    let keys = limit.w;
    let dropout_at = ((group.z * HEADS + head) * pass_uniform.tokens + queries) * pass_uniform.tokens;
    let slice = invocation / ROW_INVOCATIONS;
    // Columns beyond the last quad are clamped to it, and the results are discarded. A key beyond
    // the last is also clamped, and its weight is zero.
    let column = min(4u * (invocation % ROW_INVOCATIONS), (HEAD_DIM - 1u) / 4u * 4u);
    let k = start * QKV_STRIDE + Q_WIDTH + head / GROUP * HEAD_DIM;
    let last_key = k + (keys - 1u) * QKV_STRIDE;
    let last_value = last_key + KV_WIDTH;
    var key_at = min(k + (from_key + invocation) * QKV_STRIDE, last_key);
    var value_at = k + KV_WIDTH + (from_key + 8u * slice) * QKV_STRIDE;
    workgroupBarrier();

    var maximum = RowValues(LOWEST);
    var sum = RowValues(0.0);
    var weighted_values = mat4x4<f32>();
    for (var block = from_key; block < keys; block += WORKGROUP_SIZE) {
        let key = block + invocation;
        let sees = (vec4<u32>(key) >= floor) & (vec4<u32>(key) < limit);
        var own = RowValues(LOWEST);
        // Eight neighbours take the branch together, as `row_products` requires.
        if block + invocation / 8u * 8u < keys {
            own = select(own, biased(score_of(row_products(key_at, 0u)), head, RowValues(f32(key)), RowValues(queries)), sees);
        }
        let new_maximum = max(maximum, workgroup_max(invocation, own));
        let p = select(RowValues(0.0), exp(max(own - new_maximum, RowValues(-87.0))), sees);
        let shrink = exp(max(maximum - new_maximum, RowValues(-87.0)));
        maximum = new_maximum;
        sum = fma(sum, shrink, p);
        for (var c = 0u; c < 4u; c++) {
            weighted_values[c] *= shrink;
        }
        let keep_scale = dropout_scales(dropout_at + key);
        scratch[WEIGHTS + invocation] = keep_scale * p;
        workgroupBarrier();
        let end = min(WORKGROUP_SIZE, keys - block);
        weighted_values = add_weighted_rows(weighted_values, WEIGHTS, end, slice, value_at, last_value, column);
        value_at += WORKGROUP_SIZE * QKV_STRIDE;
        key_at = min(key_at + WORKGROUP_SIZE * QKV_STRIDE, last_key);
        workgroupBarrier();
    }

    scratch[invocation] = sum;
    workgroupBarrier();
    var total = RowValues(0.0);
    for (var i = 0u; i < WORKGROUP_SIZE; i += 8u) {
        let sums = shared_read(i);
        for (var j = 0u; j < 8u; j++) {
            total += shared_value(sums, j);
        }
    }
    workgroupBarrier();
    store_slice(slice, invocation % ROW_INVOCATIONS, weighted_values);
    workgroupBarrier();
    let log_sum = maximum + log(total);
    for (var i = invocation; i < HEAD_DIM; i += WORKGROUP_SIZE) {
        let attended = sum_slices(i) / total;
        for (var r = 0u; r < 4u; r++) {
            if first + r < pass_uniform.tokens {
                let row = start + first + r;
                a[row * A_STRIDE + head * HEAD_DIM + i] = attended[r];
                if i == 0u {
                    lse[row * HEADS + head] = log_sum[r];
                }
            }
        }
    }
}
