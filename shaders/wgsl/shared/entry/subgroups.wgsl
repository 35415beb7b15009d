// The entry point of kernels that use subgroups. The driver assigns invocations to subgroups, so an
// invocation's index is computed from its subgroup: neighbours in a subgroup are neighbours in the
// workgroup. (Browsers require `enable subgroups;` at the top; naga 30 rejects the line and accepts
// the functions without it.)

struct Subgroup {
    // The index of the subgroup in the workgroup.
    number: u32,
    // Subgroups of the workgroup.
    count: u32,
    // The index of the invocation in the subgroup.
    lane: u32,
    // Invocations of the subgroup.
    size: u32,
}

var<private> subgroup: Subgroup;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_id) number: u32,
    @builtin(num_subgroups) count: u32,
    @builtin(subgroup_invocation_id) own: u32,
    @builtin(subgroup_size) size: u32,
) {
    subgroup = Subgroup(number, count, own, size);
    work(group, number * size + own);
}
