// No norm: the stream is read as it is.

fn statistics(first: u32, lane: u32) {}

fn normalise(r: u32, column: u32, x: f32) -> f32 {
    return x;
}
