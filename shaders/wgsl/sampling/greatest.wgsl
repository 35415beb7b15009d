// The greatest logit of a tile of the vocabulary, and its token. If the next token is drawn from
// all tokens, noise is added to the logits. As the first sampling step, it also clears the
// histogram.

@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(3) var<storage, read_write> tile_maxima: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> histogram: array<u32>;

// `inverse_temperature` is at most 10^6, so with this factor (2^-20) its product with a logit stays
// within f32. A power of two changes no order.
const SCALE: f32 = 9.5367431640625e-7;

fn work(group: vec3<u32>, invocation: u32) {
    if pass_uniform.rows == 0u {
        return;
    }
    if group.x == 0u {
        for (var i = invocation; i < 2u * BINS + 1u; i += WORKGROUP_SIZE) {
            histogram[i] = 0u;
        }
    }
    let key = noise_key(pass_uniform.position);
    var own = NOTHING;
    for (var i = invocation; i < TILE; i += WORKGROUP_SIZE) {
        let token = group.x * TILE + i;
        if token < VOCAB {
            let logit = logits[token];
            var order = ordered(logit);
            if sampling.noise == 1u && order > 0u {
                let scaled = logit * (sampling.inverse_temperature * SCALE);
                order = ordered(scaled + gumbel(key, token) * SCALE);
            }
            own = better(own, vec2<u32>(order, token));
        }
    }
    let best = workgroup_best(invocation, own);
    if invocation == 0u {
        tile_maxima[group.x] = best;
    }
}
