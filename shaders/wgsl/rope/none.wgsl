// No rotation: positions are added to the embedding or bias the scores, or the layer uses none.

fn rotate_feature(position: u32, feature: u32, value: f32, partner: f32) -> f32 {
    return value;
}

fn rotate_pair(position: u32, column: u32, pair: vec2<f32>, direction: f32) -> vec2<f32> {
    return pair;
}
