// Counts the tokens of each bin, and sums their weights.

@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(4) var<storage, read_write> histogram: array<atomic<u32>>;

// Tokens of each bin, then their weights.
var<workgroup> own: array<atomic<u32>, 2 * BINS>;

fn work(group: vec3<u32>, invocation: u32) {
    if pass_uniform.rows == 0u {
        return;
    }
    for (var i = invocation; i < 2u * BINS; i += WORKGROUP_SIZE) {
        atomicStore(&own[i], 0u);
    }
    let greatest = overall_best(invocation).x;
    workgroupBarrier();
    for (var i = invocation; i < TILE; i += WORKGROUP_SIZE) {
        let token = group.x * TILE + i;
        if token < VOCAB {
            let distance = distance_below(ordered(logits[token]), greatest);
            let bin = bin_of(distance);
            atomicAdd(&own[bin], 1u);
            atomicAdd(&own[BINS + bin], weight_units(distance, bin));
        }
    }
    workgroupBarrier();
    for (var i = invocation; i < 2u * BINS; i += WORKGROUP_SIZE) {
        let n = atomicLoad(&own[i]);
        if n > 0u {
            atomicAdd(&histogram[i], n);
        }
    }
}
