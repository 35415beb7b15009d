// Rotary embedding (Su et al. 2021): features 2i and 2i + 1 of a head rotate as a pair, by an angle
// that grows with the position. Cosines and sines come from a table that was computed in f64: the
// rounding error of an f32 angle grows with its size.

// (cos, sin) of each position, table and pair.
@group(1) @binding(6) var<storage, read> angles: array<vec2<f32>>;

fn angle(position: u32, feature: u32) -> vec2<f32> {
    return angles[position * ANGLES_STRIDE + ANGLES_OFFSET + feature / 2u];
}

// Rotates feature `feature` of a head; `partner` is the other feature of its pair.
fn rotate_feature(position: u32, feature: u32, value: f32, partner: f32) -> f32 {
    let own = angle(position, feature);
    let sine = select(own.y, -own.y, feature % 2u == 0u);
    return fma(partner, sine, value * own.x);
}

// Rotates the pair that begins at the even column `column`; `direction` is 1, or -1 to undo the
// rotation in the backward pass.
fn rotate_pair(position: u32, column: u32, pair: vec2<f32>, direction: f32) -> vec2<f32> {
    let own = angle(position, column);
    let sine = direction * own.y;
    return vec2<f32>(fma(pair.x, own.x, -pair.y * sine), fma(pair.y, own.x, pair.x * sine));
}
