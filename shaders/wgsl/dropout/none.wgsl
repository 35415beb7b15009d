// No dropout.

fn dropout_scale(index: u32) -> f32 {
    return 1.0;
}
