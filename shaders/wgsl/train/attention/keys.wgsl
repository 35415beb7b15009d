// The gradients of four keys and values, from all queries that see them, head after head of those that share them: dv = drop(p)^T da and
// dk = ds^T q / sqrt(head_dim), with p and ds as for the queries. An invocation makes those of one query, and gathers a column.

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

fn seen_from(key: u32) -> u32 {
    return key;
}

fn factor(index: u32) -> f32 {
    return 1.0;
}

fn turned(position: u32, column: u32, pair: vec2<f32>, direction: f32) -> vec2<f32> {
    return pair;
}
// ---- end of parameters ----

@group(1) @binding(0) var<storage, read> qkv: array<f32>;
@group(1) @binding(1) var<storage, read> lse: array<f32>;
@group(1) @binding(2) var<storage, read> delta: array<f32>;
@group(1) @binding(3) var<storage, read> da: array<f32>;
@group(1) @binding(4) var<storage, read_write> d_qkv: array<f32>;

// [column][key].
var<workgroup> k_tile: array<vec4<f32>, HEAD_DIM>;
var<workgroup> v_tile: array<vec4<f32>, HEAD_DIM>;
// What weighs the queries, and what weighs the gradients of what they gathered; then what the slices gathered.
var<workgroup> k_weights: array<vec4<f32>, LANES>;
var<workgroup> v_weights: array<vec4<f32>, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let start = group.z * run.tokens;
    let first = group.y * 4u;
    let keys = min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(run.tokens - 1u));
    let k = (start + keys) * QKV_STRIDE + Q_WIDTH + group.x * HEAD_DIM;
    for (var i = lane; i < HEAD_DIM; i += LANES) {
        let at = k + i;
        k_tile[i] = SCALE * vec4<f32>(qkv[at.x], qkv[at.y], qkv[at.z], qkv[at.w]);
        v_tile[i] = vec4<f32>(
            qkv[at.x + KV_WIDTH],
            qkv[at.y + KV_WIDTH],
            qkv[at.z + KV_WIDTH],
            qkv[at.w + KV_WIDTH],
        );
    }
    workgroupBarrier();

    let column = lane % COLUMNS;
    let slice = lane / COLUMNS;
    var d_k = vec4<f32>(0.0);
    var d_v = vec4<f32>(0.0);
    for (var head = group.x * GROUP; head < (group.x + 1u) * GROUP; head++) {
        let q = start * QKV_STRIDE + head * HEAD_DIM;
        let d = start * A_STRIDE + head * HEAD_DIM;
        for (var block = seen_from(first); block < run.tokens; block += LANES) {
            let query = block + lane;
            var own_k = vec4<f32>(0.0);
            var own_v = vec4<f32>(0.0);
            if query < run.tokens {
                var score = vec4<f32>(0.0);
                var d_p = vec4<f32>(0.0);
                for (var i = 0u; i < HEAD_DIM; i++) {
                    score = fma(vec4<f32>(qkv[q + query * QKV_STRIDE + i]), k_tile[i], score);
                    d_p = fma(vec4<f32>(da[d + query * A_STRIDE + i]), v_tile[i], d_p);
                }
                let kept_at = (start + query) * HEADS + head;
                let numbers = ((group.z * HEADS + head) * run.tokens + query) * run.tokens + keys;
                let kept = vec4<f32>(factor(numbers.x), factor(numbers.y), factor(numbers.z), factor(numbers.w));
                let p = exp(clamp(score - lse[kept_at], vec4<f32>(-87.0), vec4<f32>(87.0)));
                let sees = keys < vec4<u32>(seen(query));
                own_v = select(own_v, kept * p, sees);
                own_k = select(own_k, SCALE * p * (kept * d_p - delta[kept_at]), sees);
            }
            k_weights[lane] = own_k;
            v_weights[lane] = own_v;
            workgroupBarrier();
            if column < HEAD_DIM {
                let end = min(LANES, run.tokens - block);
                for (var i = slice; i < end; i += SLICES) {
                    d_k = fma(k_weights[i], vec4<f32>(qkv[q + (block + i) * QKV_STRIDE + column]), d_k);
                    d_v = fma(v_weights[i], vec4<f32>(da[d + (block + i) * A_STRIDE + column]), d_v);
                }
            }
            workgroupBarrier();
        }
    }

    k_weights[lane] = d_k;
    v_weights[lane] = d_v;
    workgroupBarrier();
    if lane < HEAD_DIM {
        for (var i = 1u; i < SLICES; i++) {
            d_v += v_weights[i * COLUMNS + lane];
        }
        write(start, first, group.x * HEAD_DIM + lane + KV_WIDTH, d_v);
    }
    // Two columns turn together.
    let even = lane * 2u;
    if even < HEAD_DIM {
        var x = k_weights[even];
        var y = vec4<f32>(0.0);
        if even + 1u < HEAD_DIM {
            y = k_weights[even + 1u];
        }
        for (var i = 1u; i < SLICES; i++) {
            x += k_weights[i * COLUMNS + even];
            y += k_weights[i * COLUMNS + even + 1u];
        }
        for (var i = 0u; i < 4u; i++) {
            let position = min(first + i, run.tokens - 1u);
            let pair = turned(position, even, vec2<f32>(x[i], y[i]), -1.0);
            x[i] = pair.x;
            y[i] = pair.y;
        }
        write(start, first, group.x * HEAD_DIM + even, x);
        if even + 1u < HEAD_DIM {
            write(start, first, group.x * HEAD_DIM + even + 1u, y);
        }
    }
}

// A column of keys and values of the four rows, as far as they exist.
fn write(start: u32, first: u32, column: u32, values: vec4<f32>) {
    for (var i = 0u; i < 4u; i++) {
        if first + i < run.tokens {
            d_qkv[(start + first + i) * QKV_STRIDE + Q_WIDTH + column] = values[i];
        }
    }
}
