// All vectors of a layer, or of the model: scales and shifts of norms, and biases. Steps add their
// offsets.

@group(1) @binding(0) var<storage, read> vectors: array<f32>;
