// Lists every token that may remain after top-k, top-p and min-p. The order of the list varies; no
// result depends on it.

@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(4) var<storage, read_write> histogram: array<atomic<u32>>;
@group(0) @binding(5) var<storage, read_write> candidates: array<vec2<u32>>;

// The number of tokens in bin `i` of the histogram.
fn tally(i: u32) -> u32 {
    return atomicLoad(&histogram[i]);
}

fn work(group: vec3<u32>, invocation: u32) {
    if pass_uniform.rows == 0u {
        return;
    }
    let greatest = overall_best(invocation).x;
    load_histogram(invocation);
    let last = last_candidate_bin(invocation, bin_of_count(invocation, min(sampling.top_k, VOCAB)));
    for (var i = invocation; i < TILE; i += WORKGROUP_SIZE) {
        let token = group.x * TILE + i;
        if token < VOCAB {
            let distance = distance_below(ordered(logits[token]), greatest);
            if bin_of(distance) <= last {
                candidates[atomicAdd(&histogram[2u * BINS], 1u)] = vec2<u32>(distance, token);
            }
        }
    }
}
