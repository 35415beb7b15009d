// Rows come to workgroup memory 32 deep at a time, to two places that take turns: while one is multiplied, the other is filled.

fn products(first: u32, owner: u32, lane: u32) -> Sums {
    let own = starts(owner);
    var sums = Sums();
    var place = 0u;
    stage(first, 0u, lane);
    for (var k = 0u; k < depth(); k += 32u) {
        // Whoever is here has filled what is multiplied next, and has multiplied what is filled next.
        workgroupBarrier();
        let next = 32u - place;
        if k + 32u < depth() {
            stage(first, k + 32u - next, next + lane);
        }
        sums = multiply(own, k - place, place, place + min(32u, depth() - k), sums);
        place = next;
    }
    return sums;
}
