// A table with a row for each position, learned or sinusoidal.

@group(1) @binding(6) var<storage, read> positions: array<f32>;

fn position_embedding(position: u32, column: u32) -> f32 {
    return positions[position * EMBED + column];
}
