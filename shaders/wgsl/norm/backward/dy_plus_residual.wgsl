// The gradient of a norm's output that two steps read: the sum of their gradients.

@group(1) @binding(2) var<storage, read> dy: array<f32>;
@group(1) @binding(3) var<storage, read> residual_gradient: array<f32>;

fn dy_at(at: u32) -> f32 {
    return dy[at] + residual_gradient[at];
}
