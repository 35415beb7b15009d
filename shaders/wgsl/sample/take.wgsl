// The token is the greatest of the tiles'.

const LANES: u32 = 256u;

fn awake(lane: u32) -> bool {
    return true;
}

fn top(lane: u32) -> vec2<u32> {
    return vec2<u32>(lane);
}

fn advance(token: u32) {}
// ---- end of parameters ----

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
