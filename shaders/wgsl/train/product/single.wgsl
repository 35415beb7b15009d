// Rows come to workgroup memory 64 deep at a time, and are then multiplied.

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
    for (var k = 0u; k < depth(); k += 64u) {
        workgroupBarrier();
        stage(first, k, lane);
        stage(first, k, lane + 32u);
        workgroupBarrier();
        sums = multiply(own, k, 0u, min(64u, depth() - k), sums);
    }
    return sums;
}
