// Rotary embedding: columns 2i and 2i + 1 of a head turn together, by an angle that grows with the position. A gradient is turned back.

// (cos, sin) of each position and pair.
@group(1) @binding(6) var<storage, read> angles: array<vec2<f32>>;

// `column` is the even one of the pair; `direction` is 1, or -1 for back.
fn rotate_pair(position: u32, column: u32, pair: vec2<f32>, direction: f32) -> vec2<f32> {
    let angle = angles[position * (HEAD_DIM / 2u) + column / 2u];
    let sine = direction * angle.y;
    return vec2<f32>(fma(pair.x, angle.x, -pair.y * sine), fma(pair.y, angle.x, pair.x * sine));
}
