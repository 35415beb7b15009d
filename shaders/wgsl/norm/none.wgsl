// No norm: the stream is read as it is.

fn statistics(first: u32, lane: u32) {}

fn affine(column: u32) -> vec2<f32> {
    return vec2<f32>(1.0, 0.0);
}

fn normalise(r: u32, x: f32, by: vec2<f32>) -> f32 {
    return x;
}
