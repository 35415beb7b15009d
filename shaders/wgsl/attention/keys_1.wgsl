// Keys are read one element at a time: the width of a head is not a multiple of four.

@group(0) @binding(3) var<storage, read> k_cache: array<f32>;

// Dot products of the queries with a key of head `head`.
fn score(key: u32, head: u32) -> Queries {
    let at = key * KV_WIDTH + head * HEAD_DIM;
    var sum = Queries(0.0);
    for (var i = 0u; i < HEAD_DIM; i += 8u) {
        let columns = shared_read(i);
        for (var j = 0u; j < min(8u, HEAD_DIM - i); j++) {
            sum = fma(Queries(k_cache[at + i + j]), shared_value(columns, j), sum);
        }
    }
    return sum;
}
