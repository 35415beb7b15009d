// Rotary embedding (Su et al. 2021): features 2i and 2i + 1 of a head turn together, by an angle that grows with the position.
//
// Cosines and sines come from a table made in f64: an f32 angle of some thousand turns has lost its digits.

// (cos, sin) of each position and pair.
@group(1) @binding(6) var<storage, read> angles: array<vec2<f32>>;

// `value` is feature `feature` of a head, `partner` the other one of its pair.
fn rotate_feature(row: u32, feature: u32, value: f32, partner: f32) -> f32 {
    let angle = angles[(pass_uniform.position + row) * (HEAD_DIM / 2u) + feature / 2u];
    let sine = select(angle.y, -angle.y, feature % 2u == 0u);
    return fma(partner, sine, value * angle.x);
}
