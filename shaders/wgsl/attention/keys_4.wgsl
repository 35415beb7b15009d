// Keys read four elements at a time: every head begins at a multiple of four.

const HEAD_DIM: u32 = 64u;
const KV_WIDTH: u32 = 768u;

// As many queries as go together.
alias Queries = vec4<f32>;

var<workgroup> q_tile: array<Queries, HEAD_DIM>;
// ---- end of parameters ----

@group(0) @binding(3) var<storage, read> k_cache: array<vec4<f32>>;

// The dot products of the queries with a key of head `head`.
fn score(key: u32, head: u32) -> Queries {
    let at = (key * KV_WIDTH + head * HEAD_DIM) / 4u;
    var sum = Queries(0.0);
    for (var i = 0u; i < HEAD_DIM / 4u; i++) {
        let k = k_cache[at + i];
        sum = fma(Queries(k.x), q_tile[4u * i], sum);
        sum = fma(Queries(k.y), q_tile[4u * i + 1u], sum);
        sum = fma(Queries(k.z), q_tile[4u * i + 2u], sum);
        sum = fma(Queries(k.w), q_tile[4u * i + 3u], sum);
    }
    return sum;
}
