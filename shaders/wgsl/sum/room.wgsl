// Workgroup memory for a sum over all invocations, for kernels that have none to lend.

const LANES: u32 = 64u;
// ---- end of parameters ----

var<workgroup> shared_sums: array<f32, LANES>;
