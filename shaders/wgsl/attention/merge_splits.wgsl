// Merges the splits of a decoded token's keys. A split has the sum of its weighted values, the sum
// of its weights, and its maximum. Both sums are rescaled by e^(its maximum - the maximum of all
// splits) and added; the output is the quotient. An invocation computes a column. The keys are
// those up to the token's position.

// [split][head]: HEAD_DIM sums of weighted values, the maximum, the sum of the weights.
@group(0) @binding(1) var<storage, read> split_sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> a: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    if pass_uniform.rows == 0u || invocation >= HEAD_DIM {
        return;
    }
    let start = group.x * (HEAD_DIM + 2u);
    let step = HEADS * (HEAD_DIM + 2u);
    let end = start + (pass_uniform.position + SPLIT_KEYS) / SPLIT_KEYS * step;
    var maximum = split_sums[start + HEAD_DIM];
    for (var at = start + step; at < end; at += step) {
        maximum = max(maximum, split_sums[at + HEAD_DIM]);
    }
    var weighted_values = 0.0;
    var sum = 0.0;
    for (var at = start; at < end; at += step) {
        let shrink = exp(max(split_sums[at + HEAD_DIM] - maximum, -87.0));
        weighted_values = fma(split_sums[at + invocation], shrink, weighted_values);
        sum = fma(split_sums[at + HEAD_DIM + 1u], shrink, sum);
    }
    a[group.x * HEAD_DIM + invocation] = weighted_values / sum;
}
