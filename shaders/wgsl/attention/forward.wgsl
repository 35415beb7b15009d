// a = drop(softmax(q k^T / sqrt(head_dim))) v for one head and four queries of a sequence, without ever holding a row of scores; of each query the
// logarithm of its sum of exponentials is kept, from which the way back makes any probability again.
//
// As in inference: the keys are taken LANES at a time, each invocation scores one, and to gather values an invocation owns four columns (and one of SLICES
// shares of the keys). What was gathered shrinks when a later group raises the maximum. Only the numerator is dropped from.
//
// Where an invocation reads next is a variable that moves on before a barrier: some drivers (lavapipe) work out the place of a read for one invocation after another, from
// all that it is computed of.

@group(1) @binding(1) var<storage, read_write> lse: array<f32>;
@group(1) @binding(4) var<storage, read_write> a: array<f32>;

const LOWEST: f32 = -3.4e38;

alias Queries = vec4<f32>;

// Sets of invocations that have a row each; columns that those of a set have, some of which may not exist.
const SLICES: u32 = LANES / ROW_LANES;
const TILE: u32 = 4u * ROW_LANES;

// Workgroup memory: the queries by column; scores, then what they weigh; room for what is found of them all. In the end, what the slices gathered.
const WEIGHTS: u32 = TILE;
const SOME: u32 = TILE + LANES;
const ROOM: u32 = max(TILE + 2u * LANES, 4u * LANES);

alias Shared = Queries;

var<workgroup> memory: array<Shared, ROOM>;

fn work(group: vec3<u32>, lane: u32) {
    let head = group.x;
    let start = group.z * run.tokens;
    let first = group.y * 4u;
    // A query that does not exist is the last one once more, and is dropped.
    let queries = min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(run.tokens - 1u));
    let q = (start + queries) * QKV_STRIDE + head * HEAD_DIM;
    for (var i = 4u * lane; i < HEAD_DIM; i += 4u * LANES) {
        // By column.
        let columns = transpose(mat4x4<f32>(qkv_quad(q.x, i), qkv_quad(q.y, i), qkv_quad(q.z, i), qkv_quad(q.w, i)));
        memory[i] = SCALE * columns[0];
        memory[i + 1u] = SCALE * columns[1];
        memory[i + 2u] = SCALE * columns[2];
        memory[i + 3u] = SCALE * columns[3];
    }
    let limit = vec4<u32>(seen(queries.x), seen(queries.y), seen(queries.z), seen(queries.w));
    let keys = limit.w;
    let numbers = ((group.z * HEADS + head) * run.tokens + queries) * run.tokens;
    let slice = lane / ROW_LANES;
    // Columns that do not exist are the last ones once more, and are dropped. So is a key too many, which weighs nothing.
    let column = min(4u * (lane % ROW_LANES), (HEAD_DIM - 1u) / 4u * 4u);
    let k = start * QKV_STRIDE + Q_WIDTH + head / GROUP * HEAD_DIM;
    let last_key = k + (keys - 1u) * QKV_STRIDE;
    let last_value = last_key + KV_WIDTH;
    var key_at = min(k + lane * QKV_STRIDE, last_key);
    var value_at = k + KV_WIDTH + 8u * slice * QKV_STRIDE;
    workgroupBarrier();

    var maximum = Queries(LOWEST);
    var sum = Queries(0.0);
    var gathered = mat4x4<f32>();
    for (var block = 0u; block < keys; block += LANES) {
        let key = block + lane;
        let sees = vec4<u32>(key) < limit;
        var own = Queries(LOWEST);
        // Eight neighbours stay or go together.
        if block + lane / 8u * 8u < keys {
            own = select(own, score(key_at), sees);
        }
        let greatest = max(maximum, lanes_maximum(lane, own));
        let p = select(Queries(0.0), exp(max(own - greatest, Queries(-87.0))), sees);
        let shrink = exp(max(maximum - greatest, Queries(-87.0)));
        maximum = greatest;
        sum = fma(sum, shrink, p);
        for (var c = 0u; c < 4u; c++) {
            gathered[c] *= shrink;
        }
        let kept = vec4<f32>(
            factor(numbers.x + key),
            factor(numbers.y + key),
            factor(numbers.z + key),
            factor(numbers.w + key),
        );
        memory[WEIGHTS + lane] = kept * p;
        workgroupBarrier();
        let end = min(LANES, keys - block);
        for (var i = 0u; i < end; i += 8u * SLICES) {
            if i + 8u * slice < end {
                let weights = eight(WEIGHTS + i + 8u * slice);
                var at = value_at;
                for (var j = 0u; j < 8u; j++) {
                    let v = qkv_quad(min(at, last_value), column);
                    at += QKV_STRIDE;
                    let weight = of_eight(weights, j);
                    gathered += mat4x4<f32>(v.x * weight, v.y * weight, v.z * weight, v.w * weight);
                }
            }
            value_at += 8u * SLICES * QKV_STRIDE;
        }
        key_at = min(key_at + LANES * QKV_STRIDE, last_key);
        workgroupBarrier();
    }

    memory[lane] = sum;
    workgroupBarrier();
    var total = Queries(0.0);
    for (var i = 0u; i < LANES; i += 8u) {
        let sums = eight(i);
        for (var j = 0u; j < 8u; j++) {
            total += of_eight(sums, j);
        }
    }
    workgroupBarrier();
    settle(slice, lane % ROW_LANES, gathered);
    workgroupBarrier();
    let logarithm = maximum + log(total);
    for (var i = lane; i < HEAD_DIM; i += LANES) {
        let attended = settled(i) / total;
        for (var r = 0u; r < 4u; r++) {
            if first + r < run.tokens {
                let row = start + first + r;
                a[row * A_STRIDE + head * HEAD_DIM + i] = attended[r];
                if i == 0u {
                    lse[row * HEADS + head] = logarithm[r];
                }
            }
        }
    }
}

// The scores of a key, four queries of it.
fn score(at: u32) -> Queries {
    var sum = Queries(0.0);
    for (var i = 0u; i < HEAD_DIM; i += 8u) {
        let columns = eight(i);
        for (var j = 0u; j < min(8u, HEAD_DIM - i); j += 4u) {
            let k = qkv_quad(at, i + j);
            sum = fma(Queries(k.x), of_eight(columns, j), sum);
            sum = fma(Queries(k.y), of_eight(columns, j + 1u), sum);
            sum = fma(Queries(k.z), of_eight(columns, j + 2u), sum);
            sum = fma(Queries(k.w), of_eight(columns, j + 3u), sum);
        }
    }
    return sum;
}
