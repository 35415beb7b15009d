// Rows are staged 32 deep at a time in two buffers: one is filled while the other is multiplied.

fn tile_products(first: u32, owner: u32, invocation: u32) -> Sums {
    let own = operand_starts(owner);
    var sums = Sums();
    var slot = 0u;
    stage(first, 0u, invocation);
    for (var k = 0u; k < depth(); k += 32u) {
        // One buffer is full, and all invocations are done with the other.
        workgroupBarrier();
        let next = 32u - slot;
        if k + 32u < depth() {
            stage(first, k + 32u - next, next + invocation);
        }
        sums = multiply(own, k - slot, slot, slot + min(32u, depth() - k), sums);
        slot = next;
    }
    return sums;
}
