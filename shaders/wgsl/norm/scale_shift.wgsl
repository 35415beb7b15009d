// A norm with a scale and a shift for each column.

const EMBED: u32 = 768u;
// Where they begin.
const GAMMA: u32 = 0u;
const BETA: u32 = 768u;

@group(1) @binding(0) var<storage, read> vectors: array<f32>;
// ---- end of parameters ----

// Scale and shift of a column; of the last one for what lies beyond.
fn affine(column: u32) -> vec2<f32> {
    let own = min(column, EMBED - 1u);
    return vec2<f32>(vectors[GAMMA + own], vectors[BETA + own]);
}
