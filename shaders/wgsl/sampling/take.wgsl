// The token is the greatest of the tiles'.

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    if !awake(lane) {
        return;
    }
    let best = top(lane);
    if lane == 0u {
        advance(best.y);
    }
}
