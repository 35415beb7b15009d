// Where a kernel begins.

const LANES: u32 = 64u;

fn work(group: vec3<u32>, lane: u32) {}
// ---- end of parameters ----

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    work(group, lane);
}
