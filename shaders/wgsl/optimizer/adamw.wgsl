// One step of AdamW (Loshchilov and Hutter 2019), as PyTorch defines it: decay applies to the
// parameter itself and does not enter the moments. An invocation updates a quad.

// Replaces the uniform of the pass.
struct Update {
    lr: f32,
    beta1: f32,
    beta2: f32,
    eps: f32,
    // Learning rate times weight decay.
    decay: f32,
    // 1 / (1 - beta^step) for both moments.
    correction1: f32,
    correction2: f32,
    // The factor that clips the gradient's norm.
    clip: f32,
}

// Replaces the uniform of the step: a region of the buffers, in quads, and whether it decays.
struct Region {
    first: u32,
    quads: u32,
    decays: u32,
}

@group(0) @binding(0) var<uniform> update: Update;
@group(0) @binding(1) var<uniform> region: Region;
@group(1) @binding(0) var<storage, read> gradients: array<vec4<f32>>;
@group(1) @binding(1) var<storage, read_write> parameters: array<vec4<f32>>;
@group(1) @binding(2) var<storage, read_write> first_moments: array<vec4<f32>>;
@group(1) @binding(3) var<storage, read_write> second_moments: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= region.quads {
        return;
    }
    let at = region.first + id.x;
    let g = update.clip * gradients[at];
    let first = fma(vec4<f32>(update.beta1), first_moments[at], (1.0 - update.beta1) * g);
    let second = fma(vec4<f32>(update.beta2), second_moments[at], (1.0 - update.beta2) * g * g);
    let deviation = sqrt(second * update.correction2) + update.eps;
    let decayed = parameters[at] * (1.0 - select(0.0, update.decay, region.decays != 0u));
    first_moments[at] = first;
    second_moments[at] = second;
    parameters[at] = decayed - update.lr * update.correction1 * first / deviation;
}
