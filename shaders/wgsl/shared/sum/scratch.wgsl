// Workgroup memory for a sum, in kernels without other memory to reuse.

var<workgroup> shared_sums: array<f32, WORKGROUP_SIZE>;
