// Queries are stored in rows; keys and values are written to the layer's cache.

@group(0) @binding(1) var<storage, read> activations: array<f32>;
@group(0) @binding(2) var<storage, read_write> q: array<f32>;
@group(0) @binding(3) var<storage, read_write> k_cache: array<f32>;
@group(0) @binding(4) var<storage, read_write> v_cache: array<f32>;

fn raw(row: u32, column: u32) -> f32 {
    return activations[row * (Q_WIDTH + 2u * KV_WIDTH) + column];
}

fn position_of(row: u32) -> u32 {
    return pass_uniform.position + row;
}

fn save_statistics(group: u32, invocation: u32, own: vec2<f32>) {}

fn store_head(row: u32, column: u32, value: f32) {
    if column < Q_WIDTH {
        q[row * Q_WIDTH + column] = value;
    } else {
        k_cache[position_of(row) * KV_WIDTH + column - Q_WIDTH] = value;
    }
}

fn store_value(row: u32, column: u32, value: f32) {
    v_cache[position_of(row) * KV_WIDTH + column] = value;
}
