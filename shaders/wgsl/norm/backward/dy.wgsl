// The gradient of the norm's output.

@group(1) @binding(2) var<storage, read> dy: array<f32>;

fn dy_at(at: u32) -> f32 {
    return dy[at];
}
