// The maximum over a workgroup, through its memory.

// The maximum of all invocations' values, for all of them.
fn workgroup_max(invocation: u32, own: ScratchValue) -> ScratchValue {
    scratch[WEIGHTS + invocation] = own;
    workgroupBarrier();
    if invocation < 16u {
        var maximum = own;
        for (var i = 1u; i < WORKGROUP_SIZE / 16u; i++) {
            maximum = max(maximum, scratch[WEIGHTS + i * 16u + invocation]);
        }
        scratch[PARTIALS + invocation] = maximum;
    }
    workgroupBarrier();
    var maximum = scratch[PARTIALS];
    for (var i = 1u; i < 16u; i++) {
        maximum = max(maximum, scratch[PARTIALS + i]);
    }
    return maximum;
}
