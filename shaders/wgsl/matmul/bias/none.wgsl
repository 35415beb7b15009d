// No bias.

fn bias(feature: u32) -> f32 {
    return 0.0;
}
