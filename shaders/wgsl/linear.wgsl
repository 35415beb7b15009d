// y = W x: one projection, with the norm before it and whatever follows it fused in.
//
// A workgroup makes some strips of 32 output features for a tile of rows. An invocation owns rows of W: neighbours read neighbouring
// elements, and what they multiply with, a tile of inputs in workgroup memory, is the same for all of them. The products are
// shared through workgroup memory too, in turns, where `total` finds them: what follows may then combine features that different
// invocations made, as rotation and gating do.

const LANES: u32 = 64u;
const TILE_ROWS: u32 = 16u;
// Strips of the matrix that a workgroup multiplies.
const STRIPS: u32 = 8u;
// Turns in which products are shared, and outputs of the step that each of them makes.
const TURNS: u32 = 4u;
const FEATURES: u32 = 64u;
// Outputs of the step.
const OUTPUTS: u32 = 2304u;

struct Run { position: u32, rows: u32, first: u32 }
@group(0) @binding(0) var<uniform> run: Run;

struct Sums { one: f32 }

fn statistics(first: u32, lane: u32) {}

fn multiply(first: u32, strip: u32, lane: u32) -> Sums {
    return Sums(f32(first + strip + lane));
}

fn share(sums: Sums, turn: u32, lane: u32) {}
fn finish(r: u32, row: u32, local: u32, feature: u32) {}
// ---- end of parameters ----

fn work(group: vec3<u32>, lane: u32) {
    if run.rows == 0u {
        return;
    }
    let first = group.y * TILE_ROWS;
    statistics(first, lane);
    let sums = multiply(first, group.x * STRIPS, lane);
    for (var turn = 0u; turn < TURNS; turn++) {
        share(sums, turn, lane);
        for (var i = lane; i < TILE_ROWS * FEATURES; i += LANES) {
            let r = i / FEATURES;
            let local = i % FEATURES;
            let feature = (group.x * TURNS + turn) * FEATURES + local;
            if first + r < run.rows && feature < OUTPUTS {
                finish(r, first + r, local, feature);
            }
        }
    }
}
