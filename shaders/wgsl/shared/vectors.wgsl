// All vectors of a layer (or of the model): norms' scales and shifts, biases. A step adds the offsets that it needs.

@group(1) @binding(0) var<storage, read> vectors: array<f32>;
