// Counter-based noise: the noise of a token is a function of the seed, the number of the draw, and
// the token, as in `gpt-runtime/src/sample/random.rs`.
//
// If Gumbel noise is added to the logits, the greatest sum belongs to token i with its softmax
// probability. So a draw is a maximum: it needs no running sum, no order, and no synchronization.

// A bijective mixer.
fn hash(x: u32) -> u32 {
    var y = (x ^ (x >> 16u)) * 0x7feb352du;
    y = (y ^ (y >> 15u)) * 0x846ca68bu;
    return y ^ (y >> 16u);
}

// The key of the draw after position `position`.
fn noise_key(position: u32) -> u32 {
    let key = hash(position + sampling.draws + 0x9e3779b9u);
    return hash(hash(key ^ sampling.seed_low) ^ sampling.seed_high);
}

// -ln(-ln u) of a uniform u = 1 - t. The greatest noise comes from the smallest t, so t is not
// computed as a difference from 1.
fn gumbel(key: u32, token: u32) -> f32 {
    let bits = hash(key ^ hash(token));
    let t = (f32(bits >> 8u) + (f32(bits & 255u) + 0.5) / 256.0) / 16777216.0;
    let series = 1.0 / 4.0 + t * (1.0 / 5.0 + t * (1.0 / 6.0));
    let small = t * (1.0 + t * (1.0 / 2.0 + t * (1.0 / 3.0 + t * series)));
    let large = -log(1.0 - min(t, 0.99999994));
    return -log(select(large, small, t < 0.0625));
}
