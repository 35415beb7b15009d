// A matrix, row by row, whole quads to a row.

const COLUMNS: u32 = 768u;
// ---- end of parameters ----

@group(1) @binding(1) var<storage, read> weights: array<vec4<f32>>;

// Behind the last column stands anything.
fn weight(row: u32, quad: u32) -> vec4<f32> {
    return weights[row * (COLUMNS / 4u) + min(quad, COLUMNS / 4u - 1u)];
}
