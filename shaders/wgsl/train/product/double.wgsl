// Rows come to workgroup memory 32 deep at a time, to two places that take turns: while one is multiplied, the other is filled.

alias Rows = mat4x4<f32>;
struct Sums { a: Rows, b: Rows, c: Rows, d: Rows }

fn depth() -> u32 {
    return 768u;
}

fn stage(first: u32, k: u32, i: u32) {}

fn starts(owner: u32) -> vec4<u32> {
    return vec4<u32>(owner);
}

fn multiply(own: vec4<u32>, k: u32, begin: u32, end: u32, before: Sums) -> Sums {
    return before;
}
// ---- end of parameters ----

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
