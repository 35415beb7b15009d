// All vectors of a layer, or of the model: scales and shifts of norms, and biases. The offset of
// each is a constant in the header of a kernel that reads it.

@group(1) @binding(0) var<storage, read> vectors: array<f32>;
