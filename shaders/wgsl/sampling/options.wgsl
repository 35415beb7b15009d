// How a text's tokens are chosen.

struct Sampling {
    // By what logits are multiplied.
    inverse_temperature: f32,
    // Only so many tokens are left (VOCAB for all), the likeliest that together have this share of the weight, those of at least this weight.
    top_k: u32,
    top_p: f32,
    min_p: f32,
    // The halves of the seed.
    seed_low: u32,
    seed_high: u32,
    // The number of a draw, less the position after which it is made.
    draws: u32,
    // 1 if the token is drawn with noise from all, 0 if the greatest logit is wanted.
    noise: u32,
    // Tokens that end the text; what no token is where there are fewer.
    stops: array<vec4<u32>, 4>,
}

@group(0) @binding(1) var<uniform> sampling: Sampling;
