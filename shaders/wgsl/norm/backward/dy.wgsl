// What comes back to a norm.

@group(1) @binding(2) var<storage, read> dy: array<f32>;

fn dy_at(at: u32) -> f32 {
    return dy[at];
}
