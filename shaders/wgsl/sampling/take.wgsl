// Takes the best candidate of all tiles.

fn work(group: vec3<u32>, invocation: u32) {
    if !pass_is_active(invocation) {
        return;
    }
    let best = overall_best(invocation);
    if invocation == 0u {
        advance(best.y);
    }
}
