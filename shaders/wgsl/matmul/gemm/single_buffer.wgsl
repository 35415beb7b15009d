// Rows are staged 64 deep at a time, then multiplied.

fn tile_products(first: u32, owner: u32, invocation: u32) -> Sums {
    let own = operand_starts(owner);
    var sums = Sums();
    for (var k = 0u; k < depth(); k += 64u) {
        workgroupBarrier();
        stage(first, k, invocation);
        stage(first, k, invocation + 32u);
        workgroupBarrier();
        sums = multiply(own, k, 0u, min(64u, depth() - k), sums);
    }
    return sums;
}
