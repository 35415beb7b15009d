// x = drop(embedding of the token, plus that of its position), a row to a workgroup. Of a table in parts each part makes the rows of its own tokens.

const EMBED: u32 = 768u;
const EMBED_STRIDE: u32 = 784u;
const LANES: u32 = 64u;

struct Run { tokens: u32, rows: u32, first: u32, replace: u32, scale: f32, key: u32, threshold: u32, keep: f32 }
@group(0) @binding(0) var<uniform> run: Run;
struct Step { first: u32, rows: u32, second: u32, site: u32, adds: u32 }
@group(0) @binding(1) var<uniform> step: Step;

fn position(t: u32, column: u32) -> f32 {
    return 0.0;
}

fn factor(index: u32) -> f32 {
    return 1.0;
}
// ---- end of parameters ----

@group(1) @binding(0) var<storage, read> tokens: array<u32>;
@group(1) @binding(1) var<storage, read> table: array<f32>;
@group(1) @binding(4) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y;
    let token = tokens[row] - step.first;
    // What comes before the part wraps around, far beyond it.
    if token >= step.rows {
        return;
    }
    for (var i = lane; i < EMBED; i += LANES) {
        let value = table[token * EMBED + i] + position(row % run.tokens, i);
        out[row * EMBED_STRIDE + i] = factor(row * EMBED + i) * value;
    }
}
