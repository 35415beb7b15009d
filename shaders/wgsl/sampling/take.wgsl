// Takes the best candidate of all tiles.

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) invocation: u32) {
    if !pass_is_active(invocation) {
        return;
    }
    let best = overall_best(invocation);
    if invocation == 0u {
        advance(best.y);
    }
}
