// Queries, keys and values are stored side by side, and the statistics are saved for the backward
// pass.

@group(1) @binding(0) var<storage, read> x: array<f32>;
@group(1) @binding(3) var<storage, read_write> stats: array<vec2<f32>>;
@group(1) @binding(4) var<storage, read_write> qkv: array<f32>;

fn raw(row: u32, column: u32) -> f32 {
    return x[row * QKV_STRIDE + column];
}

fn position_of(row: u32) -> u32 {
    return row % pass_uniform.tokens;
}

fn save_statistics(group: u32, invocation: u32, own: vec2<f32>) {
    if invocation == 0u {
        stats[row * (Q_GROUPS + K_GROUPS) + group] = own;
    }
}

fn store_head(row: u32, column: u32, value: f32) {
    qkv[row * QKV_STRIDE + column] = value;
}

fn store_value(row: u32, column: u32, value: f32) {
    qkv[row * QKV_STRIDE + Q_WIDTH + KV_WIDTH + column] = value;
}
