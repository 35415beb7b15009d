// Counts in a buffer, so that each dispatch depends on the one before it, to measure the cost of a
// dispatch with its barrier.

@group(0) @binding(0) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(1)
fn main() {
    out[0] += 1.0;
}
