// A row's statistics are made, and kept for the way back.

@group(1) @binding(3) var<storage, read_write> stats: array<vec2<f32>>;

fn row_statistics(row: u32, invocation: u32) -> vec2<f32> {
    let own = statistics(row * EMBED_STRIDE, invocation);
    if invocation == 0u {
        stats[row] = own;
    }
    return own;
}
