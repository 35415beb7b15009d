// The parameters of sampling.

struct Sampling {
    // 1 / temperature, the factor of logits.
    inverse_temperature: f32,
    // The cuts: the number of tokens to keep (VOCAB for all), the share of the weight to keep, and
    // the smallest weight to keep.
    top_k: u32,
    top_p: f32,
    min_p: f32,
    // The halves of the seed.
    seed_low: u32,
    seed_high: u32,
    // The number of a draw, minus the position after which it is made.
    draws: u32,
    // 1 to draw from all tokens with noise, 0 to take the greatest logit.
    noise: u32,
    // Tokens that end the text, padded with a value that is no token.
    stops: array<vec4<u32>, 4>,
}

@group(0) @binding(1) var<uniform> sampling: Sampling;
