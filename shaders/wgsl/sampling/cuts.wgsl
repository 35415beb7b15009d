// Finds the bins where cuts fall, from running sums over the histogram, and the last bin to list
// for an exact cut by one workgroup.

const SEGMENT: u32 = 16u;
const SEGMENTS: u32 = BINS / SEGMENT;

// Sums over a bin and those before it in its segment; then sums over the segments before.
var<workgroup> counts: array<u32, BINS>;
var<workgroup> weights: array<f32, BINS>;
var<workgroup> counts_before: array<u32, SEGMENTS>;
var<workgroup> weights_before: array<f32, SEGMENTS>;
var<workgroup> bin_found: u32;

fn load_histogram(invocation: u32) {
    for (var bin = invocation; bin < BINS; bin += WORKGROUP_SIZE) {
        counts[bin] = tally(bin);
        weights[bin] = f32(tally(BINS + bin)) * bin_weight(bin);
    }
    workgroupBarrier();
    if invocation < SEGMENTS {
        for (var bin = invocation * SEGMENT + 1u; bin < (invocation + 1u) * SEGMENT; bin++) {
            counts[bin] += counts[bin - 1u];
            weights[bin] += weights[bin - 1u];
        }
    }
    workgroupBarrier();
    if invocation == 0u {
        var count = 0u;
        var weight = 0.0;
        for (var i = 0u; i < SEGMENTS; i++) {
            counts_before[i] = count;
            weights_before[i] = weight;
            count += counts[(i + 1u) * SEGMENT - 1u];
            weight += weights[(i + 1u) * SEGMENT - 1u];
        }
        bin_found = BINS - 1u;
    }
    workgroupBarrier();
}

// Tokens in the bins before `bin`, and their weight.
fn count_before(bin: u32) -> u32 {
    if bin == 0u {
        return 0u;
    }
    return counts[bin - 1u] + counts_before[(bin - 1u) / SEGMENT];
}

fn weight_before(bin: u32) -> f32 {
    if bin == 0u {
        return 0.0;
    }
    return weights[bin - 1u] + weights_before[(bin - 1u) / SEGMENT];
}

// The bin that reaches this number of tokens, or this weight.
fn bin_of_count(invocation: u32, target_count: u32) -> u32 {
    for (var bin = invocation; bin < BINS; bin += WORKGROUP_SIZE) {
        if count_before(bin) < target_count && count_before(bin + 1u) >= target_count {
            bin_found = bin;
        }
    }
    return workgroupUniformLoad(&bin_found);
}

fn bin_of_weight(invocation: u32, target_weight: f32) -> u32 {
    for (var bin = invocation; bin < BINS; bin += WORKGROUP_SIZE) {
        if weight_before(bin) < target_weight && weight_before(bin + 1u) >= target_weight {
            bin_found = bin;
        }
    }
    return workgroupUniformLoad(&bin_found);
}

fn cuts_by_count() -> bool {
    return sampling.top_k < VOCAB;
}

fn cuts_by_weight() -> bool {
    return sampling.top_p < 1.0;
}

// The last bin to list. With top-k and top-p it is top-k's bin, since top-p counts a share of the
// tokens that top-k keeps. Otherwise it is the first of the bins where the cuts fall.
fn last_candidate_bin(invocation: u32, count_bin: u32) -> u32 {
    if cuts_by_count() && cuts_by_weight() {
        return count_bin;
    }
    var last = count_bin;
    if cuts_by_weight() {
        last = bin_of_weight(invocation, sampling.top_p * weight_before(BINS));
    }
    // The first bin that begins below the smallest weight.
    for (var bin = invocation; bin < BINS; bin += WORKGROUP_SIZE) {
        if bin > 0u && bin_weight(bin) < sampling.min_p && bin_weight(bin - 1u) >= sampling.min_p {
            bin_found = bin;
        }
    }
    return min(last, workgroupUniformLoad(&bin_found));
}
