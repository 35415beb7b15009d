// Keys are read four elements at a time: every head begins at a multiple of four.

@group(0) @binding(3) var<storage, read> k_cache: array<vec4<f32>>;

// Dot products of the queries with a key of head `head`.
fn score(key: u32, head: u32) -> Queries {
    let at = (key * KV_WIDTH + head * HEAD_DIM) / 4u;
    var sum = Queries(0.0);
    for (var i = 0u; i < HEAD_DIM; i += 8u) {
        let columns = shared_read(i);
        for (var j = 0u; j < min(8u, HEAD_DIM - i); j += 4u) {
            let k = k_cache[at + (i + j) / 4u];
            sum = fma(Queries(k.x), shared_value(columns, j), sum);
            sum = fma(Queries(k.y), shared_value(columns, j + 1u), sum);
            sum = fma(Queries(k.z), shared_value(columns, j + 2u), sum);
            sum = fma(Queries(k.w), shared_value(columns, j + 3u), sum);
        }
    }
    return sum;
}
