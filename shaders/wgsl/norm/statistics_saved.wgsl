// The statistics that the forward pass saved.

@group(1) @binding(3) var<storage, read> stats: array<vec2<f32>>;

fn row_statistics(row: u32, invocation: u32) -> vec2<f32> {
    return stats[row];
}
