// The greatest of all invocations' values, through the workgroup's memory.

// The greatest of all invocations' values, for all of them.
fn lanes_maximum(lane: u32, own: Queries) -> Queries {
    memory[WEIGHTS + lane] = own;
    workgroupBarrier();
    if lane < 16u {
        var greatest = own;
        for (var i = 1u; i < LANES / 16u; i++) {
            greatest = max(greatest, memory[WEIGHTS + i * 16u + lane]);
        }
        memory[SOME + lane] = greatest;
    }
    workgroupBarrier();
    var greatest = memory[SOME];
    for (var i = 1u; i < 16u; i++) {
        greatest = max(greatest, memory[SOME + i]);
    }
    return greatest;
}
