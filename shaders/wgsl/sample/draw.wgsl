// From the tokens that were listed: the cuts to a token, then a draw from what they leave. One workgroup, as most lists are short.

const VOCAB: u32 = 50257u;
const BINS: u32 = 512u;
const LANES: u32 = 256u;
const UNIT: f32 = 65536.0;
const INFINITE: u32 = 0x7f800000u;

struct Sampling { inverse_temperature: f32, top_k: u32, top_p: f32, min_p: f32 }
@group(0) @binding(1) var<uniform> sampling: Sampling;

struct Run { position: u32, rows: u32, first: u32 }
@group(0) @binding(0) var<storage, read_write> run: Run;

const NOTHING = vec2<u32>(0u, 0xffffffffu);
const EVERYTHING = vec2<u32>(0xffffffffu, 0xffffffffu);

fn awake(lane: u32) -> bool {
    return true;
}

fn advance(token: u32) {}

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

fn bin_weight(bin: u32) -> f32 {
    return f32(bin);
}

fn weight(distance: f32) -> f32 {
    return distance;
}

fn load_histogram(lane: u32) {}

fn count_before(bin: u32) -> u32 {
    return bin;
}

fn weight_before(bin: u32) -> f32 {
    return f32(bin);
}

fn bin_of_count(lane: u32, target_count: u32) -> u32 {
    return target_count;
}

fn bin_of_weight(lane: u32, target_weight: f32) -> u32 {
    return u32(target_weight);
}

fn cuts_by_count() -> bool {
    return true;
}

fn cuts_by_weight() -> bool {
    return true;
}

fn last_listed(lane: u32, count_bin: u32) -> u32 {
    return count_bin;
}

fn within(item: vec2<u32>, limit: vec2<u32>) -> bool {
    return item.x <= limit.x;
}

fn earlier(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return min(a, b);
}

fn bin_units(lane: u32, bin: u32, limit: vec2<u32>) -> u32 {
    return bin;
}

fn threshold(lane: u32, bin: u32, limit: vec2<u32>, weighed: bool, wanted: u32) -> vec2<u32> {
    return limit;
}
// ---- end of parameters ----

@group(0) @binding(4) var<storage, read> histogram: array<u32>;
@group(0) @binding(5) var<storage, read> listed: array<vec2<u32>>;

fn tally(i: u32) -> u32 {
    return histogram[i];
}

fn listed_length() -> u32 {
    return histogram[2u * BINS];
}

fn listed_item(i: u32) -> vec2<u32> {
    return listed[i];
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    if !awake(lane) {
        return;
    }
    load_histogram(lane);
    let count_bin = bin_of_count(lane, min(sampling.top_k, VOCAB));
    let last = last_listed(lane, count_bin);
    var limit = EVERYTHING;
    var total = weight_before(BINS);
    if cuts_by_count() && count_bin <= last {
        limit = threshold(lane, count_bin, limit, false, sampling.top_k - count_before(count_bin));
        let units = bin_units(lane, count_bin, limit);
        total = weight_before(count_bin) + f32(units) * bin_weight(count_bin);
    }
    if cuts_by_weight() {
        let goal = sampling.top_p * total;
        let bin = bin_of_weight(lane, goal);
        if bin <= last {
            let wanted = ceil((goal - weight_before(bin)) / bin_weight(bin));
            limit = earlier(limit, threshold(lane, bin, limit, true, max(u32(wanted), 1u)));
        }
    }
    let key = noise_key(run.position);
    var own = NOTHING;
    for (var i = lane; i < listed_length(); i += LANES) {
        let item = listed[i];
        let distance = bitcast<f32>(item.x);
        if within(item, limit) && item.x < INFINITE && weight(distance) >= sampling.min_p {
            let score = gumbel(key, item.y) - distance * sampling.inverse_temperature;
            own = better(own, vec2<u32>(ordered(score), item.y));
        }
    }
    let best = lanes_best(lane, own);
    if lane == 0u {
        advance(best.y);
    }
}
