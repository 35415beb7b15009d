// A row of a table for each position, learned or sinusoidal.

@group(1) @binding(2) var<storage, read> positions: array<f32>;

fn position(t: u32, column: u32) -> f32 {
    return positions[t * EMBED + column];
}
