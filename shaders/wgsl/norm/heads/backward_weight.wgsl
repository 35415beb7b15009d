// Gradients of the scale and shift of a norm of queries and keys. If heads share parameters, a
// column is an element of a head of queries, or of keys, and its term is the sum over the heads.

@group(1) @binding(0) var<storage, read> x: array<f32>;
@group(1) @binding(1) var<storage, read> stats: array<vec2<f32>>;
@group(1) @binding(2) var<storage, read> dy: array<f32>;
@group(1) @binding(3) var<storage, read_write> d_gamma: array<f32>;

fn column_term(row: u32, parameter: u32) -> vec2<f32> {
    let is_query = parameter < Q_PARAMETERS;
    let within = select(parameter - Q_PARAMETERS, parameter, is_query);
    let start = select(Q_WIDTH, 0u, is_query) + within;
    let end = select(Q_WIDTH + KV_WIDTH, Q_WIDTH, is_query);
    let stride = select(K_PARAMETERS, Q_PARAMETERS, is_query);
    var term = vec2<f32>(0.0);
    for (var column = start; column < end; column += stride) {
        let group = select(Q_GROUPS + (column - Q_WIDTH) / K_GROUP, column / Q_GROUP, is_query);
        let own = stats[row * (Q_GROUPS + K_GROUPS) + group];
        let d = dy[row * QKV_STRIDE + column];
        term += vec2<f32>(d * (x[row * QKV_STRIDE + column] - own.x) * own.y, d);
    }
    return term;
}

fn store_column(column: u32, sums: vec2<f32>) {
    d_gamma[column] = accumulated(d_gamma[column], sums.x);
    store_shift(column, sums.y);
}
