// a = drop(softmax(q k^T / sqrt(head_dim))) v for one head and four queries of a sequence, without ever holding a row of scores; of each query the
// logarithm of its sum of exponentials is kept, from which the way back makes any probability again.
//
// As in inference: the keys are taken LANES at a time, each invocation scores one, and to gather values an invocation owns a column (and every
// SLICES-th key). What was gathered shrinks when a later group raises the maximum. Only the numerator is dropped from.

const HEAD_DIM: u32 = 64u;
const HEADS: u32 = 12u;
// Query heads that share a head of keys and values.
const GROUP: u32 = 1u;
// Widths of all query heads, and of all key heads; from a row to the next.
const Q_WIDTH: u32 = 768u;
const KV_WIDTH: u32 = 768u;
const QKV_STRIDE: u32 = 2320u;
const A_STRIDE: u32 = 784u;
const SCALE: f32 = 0.125;
const LANES: u32 = 64u;
// Invocations side by side on a row, at least HEAD_DIM; and how many such sets there are.
const COLUMNS: u32 = 64u;
const SLICES: u32 = 1u;

struct Run { tokens: u32, rows: u32, first: u32, replace: u32, scale: f32, key: u32, threshold: u32, keep: f32 }
@group(0) @binding(0) var<uniform> run: Run;

fn seen(query: u32) -> u32 {
    return query + 1u;
}

fn factor(index: u32) -> f32 {
    return 1.0;
}
// ---- end of parameters ----

@group(1) @binding(0) var<storage, read> qkv: array<f32>;
@group(1) @binding(1) var<storage, read_write> lse: array<f32>;
@group(1) @binding(4) var<storage, read_write> a: array<f32>;

const LOWEST: f32 = -3.4e38;

// [column][query].
var<workgroup> q_tile: array<vec4<f32>, HEAD_DIM>;
// Scores, then what they weigh, then what the slices gathered.
var<workgroup> weights: array<vec4<f32>, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    let start = group.z * run.tokens;
    let first = group.y * 4u;
    // A query that does not exist is the last one once more, and is dropped.
    let queries = min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(run.tokens - 1u));
    let q = (start + queries) * QKV_STRIDE + head * HEAD_DIM;
    for (var i = lane; i < HEAD_DIM; i += LANES) {
        q_tile[i] = SCALE * vec4<f32>(qkv[q.x + i], qkv[q.y + i], qkv[q.z + i], qkv[q.w + i]);
    }
    workgroupBarrier();

    let limit = vec4<u32>(seen(queries.x), seen(queries.y), seen(queries.z), seen(queries.w));
    let keys = limit.w;
    let numbers = ((group.z * HEADS + head) * run.tokens + queries) * run.tokens;
    let k = start * QKV_STRIDE + Q_WIDTH + head / GROUP * HEAD_DIM;
    let column = lane % COLUMNS;
    let slice = lane / COLUMNS;
    var maximum = vec4<f32>(LOWEST);
    var sum = vec4<f32>(0.0);
    var gathered = vec4<f32>(0.0);
    for (var block = 0u; block < keys; block += LANES) {
        let key = block + lane;
        let sees = vec4<u32>(key) < limit;
        var own = vec4<f32>(LOWEST);
        if key < keys {
            own = select(own, score(k + key * QKV_STRIDE), sees);
        }
        let greatest = max(maximum, lanes_greatest(lane, own));
        let p = select(vec4<f32>(0.0), exp(max(own - greatest, vec4<f32>(-87.0))), sees);
        let shrink = exp(max(maximum - greatest, vec4<f32>(-87.0)));
        maximum = greatest;
        sum = fma(sum, shrink, p);
        gathered *= shrink;
        let kept = vec4<f32>(
            factor(numbers.x + key),
            factor(numbers.y + key),
            factor(numbers.z + key),
            factor(numbers.w + key),
        );
        weights[lane] = kept * p;
        workgroupBarrier();
        if column < HEAD_DIM {
            let end = min(LANES, keys - block);
            for (var i = slice; i < end; i += SLICES) {
                let v = qkv[k + KV_WIDTH + (block + i) * QKV_STRIDE + column];
                gathered = fma(weights[i], vec4<f32>(v), gathered);
            }
        }
        workgroupBarrier();
    }

    weights[lane] = sum;
    workgroupBarrier();
    var total = vec4<f32>(0.0);
    for (var i = 0u; i < LANES; i++) {
        total += weights[i];
    }
    workgroupBarrier();
    weights[lane] = gathered;
    workgroupBarrier();
    if lane < HEAD_DIM {
        for (var i = 1u; i < SLICES; i++) {
            gathered += weights[i * COLUMNS + lane];
        }
        let attended = gathered / total;
        let logarithm = maximum + log(total);
        for (var i = 0u; i < 4u; i++) {
            if first + i < run.tokens {
                let row = start + first + i;
                a[row * A_STRIDE + head * HEAD_DIM + lane] = attended[i];
                if lane == 0u {
                    lse[row * HEADS + head] = logarithm[i];
                }
            }
        }
    }
}

// The scores of a key, four queries of it.
fn score(at: u32) -> vec4<f32> {
    var sum = vec4<f32>(0.0);
    for (var i = 0u; i < HEAD_DIM; i++) {
        sum = fma(vec4<f32>(qkv[at + i]), q_tile[i], sum);
    }
    return sum;
}

// The greatest of all invocations' scores, for all of them.
fn lanes_greatest(lane: u32, own: vec4<f32>) -> vec4<f32> {
    weights[lane] = own;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            weights[lane] = max(weights[lane], weights[lane + half]);
        }
    }
    workgroupBarrier();
    let greatest = weights[0];
    workgroupBarrier();
    return greatest;
}
