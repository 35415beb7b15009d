// Where a kernel begins whose invocations know their subgroups. Which invocations a subgroup has is the driver's choice, so all of this is asked for, and an invocation's
// number in the workgroup is made of it: neighbours in a subgroup are neighbours in the workgroup. (Browsers want the line `enable subgroups;` before everything else; naga 30 takes the functions without it and refuses the line.)

struct Subgroup {
    // Which of the workgroup's this is, and how many there are.
    number: u32,
    count: u32,
    // Which of its invocations this is, and how many there are.
    lane: u32,
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
