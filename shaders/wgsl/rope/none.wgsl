// No rotation: positions were added to the embedding.

fn rotate_feature(row: u32, feature: u32, value: f32, partner: f32) -> f32 {
    return value;
}
