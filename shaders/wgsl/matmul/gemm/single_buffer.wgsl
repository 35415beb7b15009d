// Rows come to workgroup memory 64 deep at a time, and are then multiplied.

fn products(first: u32, owner: u32, lane: u32) -> Sums {
    let own = starts(owner);
    var sums = Sums();
    for (var k = 0u; k < depth(); k += 64u) {
        workgroupBarrier();
        stage(first, k, lane);
        stage(first, k, lane + 32u);
        workgroupBarrier();
        sums = multiply(own, k, 0u, min(64u, depth() - k), sums);
    }
    return sums;
}
