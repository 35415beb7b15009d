// softmax(scores of q and k) v for one head and a few queries over the cache, or over a split of
// it. No row of scores is stored.
//
// A block of keys has one key for each invocation, which computes the scores of this key. The
// values are summed with the weights e^(score - running maximum). When a later block raises the
// maximum, the sums are rescaled by e^(old - new) (online softmax, Milakov and Gimelshein 2018;
// FlashAttention, Dao et al. 2022). For the weighted sum an invocation owns a column of the values
// and, where there are more invocations than columns, one of SLICES shares of the keys.

@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(4) var<storage, read> v_cache: array<f32>;

const LOWEST: f32 = -3.4e38;

// Shares of the keys of a block. A share has an invocation for each column of the values.
const SLICES: u32 = WORKGROUP_SIZE / COLUMNS;

// The size of workgroup memory, which begins with the queries, column by column.
const SCRATCH_SIZE: u32 = 3u * WORKGROUP_SIZE;
// The exponentials of the scores of a block. After the last block, the weighted sums of the slices.
const WEIGHTS: u32 = WORKGROUP_SIZE;
// Space for `workgroup_max`. After the last block, the slices' sums of exponentials.
const PARTIALS: u32 = 2u * WORKGROUP_SIZE;

alias ScratchValue = Queries;
alias Scores = Queries;

var<workgroup> scratch: array<ScratchValue, SCRATCH_SIZE>;

// A query's element. A row beyond the last is clamped to it; the result is discarded.
fn query(row: u32, head: u32, column: u32) -> f32 {
    return q[min(row, pass_uniform.rows - 1u) * Q_WIDTH + head * HEAD_DIM + column];
}

fn work(group: vec3<u32>, invocation: u32) {
    if pass_uniform.rows == 0u {
        return;
    }
    let head = group.x;
    let row = group.y * QUERIES;
    for (var i = invocation; i < HEAD_DIM; i += WORKGROUP_SIZE) {
        scratch[i] = queries(row, head, i) * SCALE;
    }
    workgroupBarrier();

    let limit = key_limits(row);
    let floor = key_starts(row);
    let range = key_range(group.z, visible_keys(pass_uniform.position + min(row + QUERIES, pass_uniform.rows) - 1u));
    let keys = range.y;
    let column = invocation % COLUMNS;
    let slice = invocation / COLUMNS;
    // A column beyond the last is clamped to it; the result is discarded.
    let values = head / GROUP * HEAD_DIM + min(column, HEAD_DIM - 1u);
    var maximum = Queries(LOWEST);
    var sum = Queries(0.0);
    var weighted_values = Queries(0.0);
    for (var start = max(range.x, first_key(pass_uniform.position + row)); start < keys; start += WORKGROUP_SIZE) {
        // A key beyond the last is clamped to it; its weight is zero.
        let key = start + invocation;
        let sees = (KeyLimits(key) >= floor) & (KeyLimits(key) < min(limit, KeyLimits(keys)));
        let products = score(min(key, keys - 1u), head / GROUP);
        let scores = biased(score_of(products), head, Queries(f32(key)), query_positions(row));
        let own = select(Queries(LOWEST), scores, sees);
        let new_maximum = max(maximum, workgroup_max(invocation, own));
        scratch[WEIGHTS + invocation] = select(Queries(0.0), exp(max(own - new_maximum, Queries(-87.0))), sees);
        workgroupBarrier();

        let shrink = exp(max(maximum - new_maximum, Queries(-87.0)));
        maximum = new_maximum;
        sum *= shrink;
        weighted_values *= shrink;
        let end = min(WORKGROUP_SIZE, keys - start);
        for (var i = 0u; i < end; i += 8u * SLICES) {
            let first = i + 8u * slice;
            let own_weights = shared_read(WEIGHTS + first);
            for (var j = 0u; j < 8u; j++) {
                let weight = shared_value(own_weights, j);
                sum += weight;
                weighted_values = fma(weight, Queries(v_cache[(start + min(first + j, end - 1u)) * KV_WIDTH + values]), weighted_values);
            }
        }
        workgroupBarrier();
    }

    scratch[WEIGHTS + invocation] = weighted_values;
    scratch[PARTIALS + invocation] = sum;
    workgroupBarrier();
    if invocation < HEAD_DIM {
        for (var i = 1u; i < SLICES; i++) {
            weighted_values += scratch[WEIGHTS + i * COLUMNS + invocation];
            sum += scratch[PARTIALS + i * COLUMNS + invocation];
        }
        for (var i = 0u; i < QUERIES; i++) {
            if row + i < pass_uniform.rows {
                store_output(group.z, row + i, head, invocation, query_element(weighted_values, i), query_element(sum, i), query_element(maximum, i));
            }
        }
    }
}
