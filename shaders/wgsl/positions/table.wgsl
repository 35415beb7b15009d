// A row of a table for each position, learned or sinusoidal.

const EMBED: u32 = 768u;

struct Run { position: u32, rows: u32, first: u32 }
@group(0) @binding(0) var<uniform> run: Run;
// ---- end of parameters ----

@group(1) @binding(6) var<storage, read> positions: array<f32>;

fn position(row: u32, column: u32) -> f32 {
    return positions[(run.position + row) * EMBED + column];
}
