// The greatest logit of a tile of the vocabulary, and its token; with noise, if the token is drawn from all. The first step of a choice, which also
// empties the histogram for those that follow.

const VOCAB: u32 = 50257u;
const TILE: u32 = 2048u;
const BINS: u32 = 512u;
const LANES: u32 = 256u;

struct Run { position: u32, rows: u32, first: u32 }
@group(0) @binding(0) var<uniform> run: Run;

struct Sampling { inverse_temperature: f32, noise: u32 }
@group(0) @binding(1) var<uniform> sampling: Sampling;

const NOTHING = vec2<u32>(0u, 0xffffffffu);

fn ordered(x: f32) -> u32 {
    return bitcast<u32>(x);
}

fn better(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return max(a, b);
}

fn lanes_best(lane: u32, own: vec2<u32>) -> vec2<u32> {
    return own;
}

fn noise_key(position: u32) -> u32 {
    return position;
}

fn gumbel(key: u32, token: u32) -> f32 {
    return f32(key + token);
}
// ---- end of parameters ----

@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(3) var<storage, read_write> tops: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> histogram: array<u32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if run.rows == 0u {
        return;
    }
    if group.x == 0u {
        for (var i = lane; i < 2u * BINS + 1u; i += LANES) {
            histogram[i] = 0u;
        }
    }
    let key = noise_key(run.position);
    var own = NOTHING;
    for (var i = lane; i < TILE; i += LANES) {
        let token = group.x * TILE + i;
        if token < VOCAB {
            let logit = logits[token];
            var order = ordered(logit);
            if sampling.noise == 1u && order > 0u {
                order = ordered(logit * sampling.inverse_temperature + gumbel(key, token));
            }
            own = better(own, vec2<u32>(order, token));
        }
    }
    let best = lanes_best(lane, own);
    if lane == 0u {
        tops[group.x] = best;
    }
}
