// softmax(q k^T / sqrt(head_dim)) v for one head and a few queries, without ever holding a row of scores: over all keys, or over a part of them.
//
// The keys are taken LANES at a time: each invocation scores one. With the maximum so far subtracted, the scores' exponentials weigh
// the values; when a later group raises the maximum, what was gathered shrinks by e^(old - new) (online softmax, Milakov and
// Gimelshein 2018; FlashAttention, Dao et al. 2022). To gather, an invocation owns a column of the values and, where there are more
// invocations than columns, only every SLICES-th key.

@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(4) var<storage, read> v_cache: array<f32>;

const LOWEST: f32 = -3.4e38;

// Sets of invocations that have a row of values each.
const SLICES: u32 = LANES / COLUMNS;

// Workgroup memory: the queries by column; scores, then their exponentials, then what the slices gathered; and room for what they add up.
const ROOM: u32 = 3u * LANES;
const WEIGHTS: u32 = LANES;
const SOME: u32 = 2u * LANES;

alias Shared = Queries;

var<workgroup> memory: array<Shared, ROOM>;

// A row that exists: what lies beyond the last one is computed as if it were the last, and dropped.
fn query(row: u32, head: u32, column: u32) -> f32 {
    return q[min(row, run.rows - 1u) * Q_WIDTH + head * HEAD_DIM + column];
}

fn work(group: vec3<u32>, lane: u32) {
    if run.rows == 0u {
        return;
    }
    let head = group.x;
    let row = group.y * QUERIES;
    for (var i = lane; i < HEAD_DIM; i += LANES) {
        memory[i] = queries(row, head, i) * SCALE;
    }
    workgroupBarrier();

    let limit = limits(row);
    let range = reach(group.z, seen(min(row + QUERIES, run.rows) - 1u));
    let keys = range.y;
    let column = lane % COLUMNS;
    let slice = lane / COLUMNS;
    // A column too many is the last one once more, and is dropped.
    let values = head / GROUP * HEAD_DIM + min(column, HEAD_DIM - 1u);
    var maximum = Queries(LOWEST);
    var sum = Queries(0.0);
    var gathered = Queries(0.0);
    for (var start = range.x; start < keys; start += LANES) {
        // A key too many is the last one once more, and weighs nothing.
        let key = start + lane;
        let sees = Limits(key) < min(limit, Limits(keys));
        let own = select(Queries(LOWEST), score(min(key, keys - 1u), head / GROUP), sees);
        let greatest = max(maximum, lanes_maximum(lane, own));
        memory[WEIGHTS + lane] = select(Queries(0.0), exp(max(own - greatest, Queries(-87.0))), sees);
        workgroupBarrier();

        let shrink = exp(max(maximum - greatest, Queries(-87.0)));
        maximum = greatest;
        sum *= shrink;
        gathered *= shrink;
        let end = min(LANES, keys - start);
        for (var i = 0u; i < end; i += 8u * SLICES) {
            let first = i + 8u * slice;
            let own_weights = eight(WEIGHTS + first);
            for (var j = 0u; j < 8u; j++) {
                let weight = of_eight(own_weights, j);
                sum += weight;
                gathered = fma(weight, Queries(v_cache[(start + min(first + j, end - 1u)) * KV_WIDTH + values]), gathered);
            }
        }
        workgroupBarrier();
    }

    memory[WEIGHTS + lane] = gathered;
    memory[SOME + lane] = sum;
    workgroupBarrier();
    if lane < HEAD_DIM {
        for (var i = 1u; i < SLICES; i++) {
            gathered += memory[WEIGHTS + i * COLUMNS + lane];
            sum += memory[SOME + i * COLUMNS + lane];
        }
        for (var i = 0u; i < QUERIES; i++) {
            if row + i < run.rows {
                leave(group.z, row + i, head, lane, element(gathered, i), element(sum, i), element(maximum, i));
            }
        }
    }
}
