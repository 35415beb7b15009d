// The entry point of kernels that compute the elements of a row one by one. A workgroup has a row.

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    for (var i = invocation; i < EMBED; i += WORKGROUP_SIZE) {
        compute(group.y, i);
    }
}
