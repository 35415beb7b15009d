// Workgroup memory for a sum over all invocations, for kernels that have none to lend.

var<workgroup> shared_sums: array<f32, WORKGROUP_SIZE>;
