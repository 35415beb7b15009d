// A row of a table for each position, learned or sinusoidal.

@group(1) @binding(6) var<storage, read> positions: array<f32>;

fn position(row: u32, column: u32) -> f32 {
    return positions[(pass_uniform.position + row) * EMBED + column];
}
