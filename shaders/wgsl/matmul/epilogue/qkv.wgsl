// Queries and keys are rotated. Queries are stored in rows; keys and values are written to the
// layer's cache.

@group(0) @binding(2) var<storage, read_write> q: array<f32>;
@group(0) @binding(3) var<storage, read_write> k_cache: array<f32>;
@group(0) @binding(4) var<storage, read_write> v_cache: array<f32>;

fn epilogue(r: u32, row: u32, local: u32, feature: u32) {
    let value = output_sum(r, local) + bias(feature);
    if feature >= Q_WIDTH + KV_WIDTH {
        v_cache[(pass_uniform.position + row) * KV_WIDTH + feature - Q_WIDTH - KV_WIDTH] = value;
        return;
    }
    // The other feature of the pair: heads and strips begin at even features.
    let partner = output_sum(r, local ^ 1u) + bias(feature ^ 1u);
    let rotated = rotate_feature(pass_uniform.position + row, feature % HEAD_DIM, value, partner);
    if feature < Q_WIDTH {
        q[row * Q_WIDTH + feature] = rotated;
    } else {
        k_cache[(pass_uniform.position + row) * KV_WIDTH + feature - Q_WIDTH] = rotated;
    }
}
