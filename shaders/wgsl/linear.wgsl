// y = W x: one projection, with the norm before it and whatever follows it fused in.
//
// A workgroup makes PANELS * 32 output features for a tile of rows. An invocation owns one row of W: neighbours read neighbouring
// elements of a panel, and what they multiply with, a tile of inputs in workgroup memory, is the same for all of them. `multiply`
// leaves the products in workgroup memory, where `total` finds them: what follows may then combine features that different
// invocations made, as rotation and gating do.

const LANES: u32 = 128u;
const TILE_ROWS: u32 = 16u;
// Panels that a workgroup works on, and the matrix's last one.
const PANELS: u32 = 4u;
const LAST_PANEL: u32 = 71u;
// Outputs of a workgroup, and of the step.
const FEATURES: u32 = 128u;
const OUTPUTS: u32 = 2304u;

struct Run { position: u32, rows: u32, first: u32 }
@group(0) @binding(0) var<uniform> run: Run;

fn statistics(first: u32, lane: u32) {}
fn multiply(first: u32, panel: u32, lane: u32) {}
fn finish(r: u32, row: u32, local: u32, feature: u32) {}
// ---- end of parameters ----

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.y * TILE_ROWS;
    statistics(first, lane);
    // In the last workgroup there may be invocations without a panel: they do the last one's work once more, and it is dropped.
    multiply(first, min(group.x * PANELS + lane / 32u % PANELS, LAST_PANEL), lane);
    for (var i = lane; i < TILE_ROWS * FEATURES; i += LANES) {
        let r = i / FEATURES;
        let local = i % FEATURES;
        let feature = group.x * FEATURES + local;
        if first + r < run.rows && feature < OUTPUTS {
            finish(r, first + r, local, feature);
        }
    }
}
