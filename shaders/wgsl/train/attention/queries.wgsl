// The gradient of four queries of a head. With probabilities p made again from the kept logarithms, and what reaches them, dp = da v^T (where the
// mask lets it through), the scores' gradient is ds = p (dp - delta), and dq = ds k / sqrt(head_dim). It goes as the way forward does: an invocation makes the
// ds of a key, and gathers a column of dq.

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

fn turned(position: u32, column: u32, pair: vec2<f32>, direction: f32) -> vec2<f32> {
    return pair;
}
// ---- end of parameters ----

@group(1) @binding(0) var<storage, read> qkv: array<f32>;
@group(1) @binding(1) var<storage, read> lse: array<f32>;
@group(1) @binding(2) var<storage, read> delta: array<f32>;
@group(1) @binding(3) var<storage, read> da: array<f32>;
@group(1) @binding(4) var<storage, read_write> d_qkv: array<f32>;

// [column][query].
var<workgroup> q_tile: array<vec4<f32>, HEAD_DIM>;
var<workgroup> d_tile: array<vec4<f32>, HEAD_DIM>;
// The scores' gradients, then what the slices gathered.
var<workgroup> weights: array<vec4<f32>, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    let start = group.z * run.tokens;
    let first = group.y * 4u;
    let queries = min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(run.tokens - 1u));
    let q = (start + queries) * QKV_STRIDE + head * HEAD_DIM;
    let d = (start + queries) * A_STRIDE + head * HEAD_DIM;
    for (var i = lane; i < HEAD_DIM; i += LANES) {
        q_tile[i] = SCALE * vec4<f32>(qkv[q.x + i], qkv[q.y + i], qkv[q.z + i], qkv[q.w + i]);
        d_tile[i] = vec4<f32>(da[d.x + i], da[d.y + i], da[d.z + i], da[d.w + i]);
    }
    workgroupBarrier();

    let kept_at = (start + queries) * HEADS + head;
    let logarithm = vec4<f32>(lse[kept_at.x], lse[kept_at.y], lse[kept_at.z], lse[kept_at.w]);
    let taken = vec4<f32>(delta[kept_at.x], delta[kept_at.y], delta[kept_at.z], delta[kept_at.w]);
    let limit = vec4<u32>(seen(queries.x), seen(queries.y), seen(queries.z), seen(queries.w));
    let keys = limit.w;
    let numbers = ((group.z * HEADS + head) * run.tokens + queries) * run.tokens;
    let k = start * QKV_STRIDE + Q_WIDTH + head / GROUP * HEAD_DIM;
    let column = lane % COLUMNS;
    let slice = lane / COLUMNS;
    var gathered = vec4<f32>(0.0);
    for (var block = 0u; block < keys; block += LANES) {
        let key = block + lane;
        var own = vec4<f32>(0.0);
        if key < keys {
            let at = k + key * QKV_STRIDE;
            var score = vec4<f32>(0.0);
            var d_p = vec4<f32>(0.0);
            for (var i = 0u; i < HEAD_DIM; i++) {
                score = fma(vec4<f32>(qkv[at + i]), q_tile[i], score);
                d_p = fma(vec4<f32>(qkv[at + KV_WIDTH + i]), d_tile[i], d_p);
            }
            let kept = vec4<f32>(
                factor(numbers.x + key),
                factor(numbers.y + key),
                factor(numbers.z + key),
                factor(numbers.w + key),
            );
            let p = exp(clamp(score - logarithm, vec4<f32>(-87.0), vec4<f32>(87.0)));
            own = select(own, SCALE * p * (kept * d_p - taken), vec4<u32>(key) < limit);
        }
        weights[lane] = own;
        workgroupBarrier();
        if column < HEAD_DIM {
            let end = min(LANES, keys - block);
            for (var i = slice; i < end; i += SLICES) {
                gathered = fma(weights[i], vec4<f32>(qkv[k + (block + i) * QKV_STRIDE + column]), gathered);
            }
        }
        workgroupBarrier();
    }

    weights[lane] = gathered;
    workgroupBarrier();
    // Two columns turn together.
    let even = lane * 2u;
    if even < HEAD_DIM {
        var x = weights[even];
        var y = vec4<f32>(0.0);
        if even + 1u < HEAD_DIM {
            y = weights[even + 1u];
        }
        for (var i = 1u; i < SLICES; i++) {
            x += weights[i * COLUMNS + even];
            y += weights[i * COLUMNS + even + 1u];
        }
        for (var i = 0u; i < 4u; i++) {
            if first + i < run.tokens {
                let pair = turned(first + i, even, vec2<f32>(x[i], y[i]), -1.0);
                let at = (start + first + i) * QKV_STRIDE + head * HEAD_DIM + even;
                d_qkv[at] = pair.x;
                if even + 1u < HEAD_DIM {
                    d_qkv[at + 1u] = pair.y;
                }
            }
        }
    }
}
