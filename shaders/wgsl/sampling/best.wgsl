// The best candidate of a workgroup; among equals, the smallest token.

// An order key, and its token.
var<workgroup> bests: array<vec2<u32>, WORKGROUP_SIZE>;

// The best of all invocations' candidates, for all of them.
fn workgroup_best(invocation: u32, own: vec2<u32>) -> vec2<u32> {
    bests[invocation] = own;
    for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if invocation < half {
            bests[invocation] = better(bests[invocation], bests[invocation + half]);
        }
    }
    workgroupBarrier();
    return bests[0];
}
