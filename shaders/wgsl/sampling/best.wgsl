// The best candidate of a workgroup; of equals, the smallest token.

// An order key, and its token.
var<workgroup> candidates: array<vec2<u32>, WORKGROUP_SIZE>;

const NOTHING = vec2<u32>(0u, 0xffffffffu);

fn better(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return select(a, b, b.x > a.x || (b.x == a.x && b.y < a.y));
}

// The best of all invocations' candidates, for all of them.
fn workgroup_best(invocation: u32, own: vec2<u32>) -> vec2<u32> {
    candidates[invocation] = own;
    for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if invocation < half {
            candidates[invocation] = better(candidates[invocation], candidates[invocation + half]);
        }
    }
    workgroupBarrier();
    return candidates[0];
}
