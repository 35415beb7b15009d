// d(table)[token] += dx. An invocation owns a column of every token that has its remainder, and takes the rows in order: two rows of one token
// never meet, and their sum is the same in every run.

const EMBED: u32 = 768u;
const EMBED_STRIDE: u32 = 784u;
const LANES: u32 = 64u;
// Workgroups that share a column.
const REMAINDERS: u32 = 8u;

struct Run { tokens: u32, rows: u32, first: u32, replace: u32, scale: f32, key: u32, threshold: u32, keep: f32 }
@group(0) @binding(0) var<uniform> run: Run;
struct Step { first: u32, rows: u32, second: u32, site: u32, adds: u32 }
@group(0) @binding(1) var<uniform> step: Step;
// ---- end of parameters ----

@group(1) @binding(0) var<storage, read> tokens: array<u32>;
@group(1) @binding(1) var<storage, read> dx: array<f32>;
@group(1) @binding(2) var<storage, read_write> d_table: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.x * LANES + lane;
    if column >= EMBED {
        return;
    }
    for (var row = 0u; row < run.rows; row++) {
        let token = tokens[row] - step.first;
        if token < step.rows && token % REMAINDERS == group.y {
            d_table[token * EMBED + column] += dx[row * EMBED_STRIDE + column];
        }
    }
}
