// A bias for each output feature.

// Where it begins.
const BIAS: u32 = 0u;

@group(1) @binding(0) var<storage, read> vectors: array<f32>;
// ---- end of parameters ----

fn bias(feature: u32) -> f32 {
    return vectors[BIAS + feature];
}
