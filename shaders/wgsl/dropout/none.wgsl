// Nothing is left out.

fn factor(index: u32) -> f32 {
    return 1.0;
}
