// No rotation: positions were added to the embedding.

fn rotate_pair(position: u32, column: u32, pair: vec2<f32>, direction: f32) -> vec2<f32> {
    return pair;
}
