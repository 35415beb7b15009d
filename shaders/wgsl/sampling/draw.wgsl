// Cuts the candidates exactly, and draws from those that remain. One workgroup does this, since
// most lists are short.

@group(0) @binding(4) var<storage, read> histogram: array<u32>;
@group(0) @binding(5) var<storage, read> candidates: array<vec2<u32>>;

fn tally(i: u32) -> u32 {
    return histogram[i];
}

fn candidate_count() -> u32 {
    return histogram[2u * BINS];
}

fn candidate(i: u32) -> vec2<u32> {
    return candidates[i];
}

fn work(group: vec3<u32>, invocation: u32) {
    if !pass_is_active(invocation) {
        return;
    }
    load_histogram(invocation);
    let count_bin = bin_of_count(invocation, min(sampling.top_k, VOCAB));
    let last = last_candidate_bin(invocation, count_bin);
    var limit = EVERYTHING;
    var total = weight_before(BINS);
    if cuts_by_count() && count_bin <= last {
        limit = threshold(invocation, count_bin, limit, false, sampling.top_k - count_before(count_bin));
        let units = bin_units(invocation, count_bin, limit);
        total = weight_before(count_bin) + f32(units) * bin_weight(count_bin);
    }
    if cuts_by_weight() {
        let goal = sampling.top_p * total;
        let bin = bin_of_weight(invocation, goal);
        if bin <= last {
            let wanted = ceil((goal - weight_before(bin)) / bin_weight(bin));
            limit = earlier(limit, threshold(invocation, bin, limit, true, max(u32(wanted), 1u)));
        }
    }
    let key = noise_key(pass_uniform.position);
    var own = NOTHING;
    for (var i = invocation; i < candidate_count(); i += WORKGROUP_SIZE) {
        let item = candidates[i];
        let distance = bitcast<f32>(item.x);
        if within(item, limit) && item.x < INFINITE && weight(distance) >= sampling.min_p {
            let score = gumbel(key, item.y) - distance * sampling.inverse_temperature;
            own = better(own, vec2<u32>(ordered(score), item.y));
        }
    }
    let best = workgroup_best(invocation, own);
    if invocation == 0u {
        advance(best.y);
    }
}
