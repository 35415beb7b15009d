// The loss of a row of logits, -ln softmax(logits)[target], and its gradient with respect to the
// products of the head: (softmax(logits) - onehot(target)), times the slope of the logit and the
// scale of the pass. The gradient replaces the logits. A row whose target is IGNORED has the loss 0
// and the gradient 0.

// The type of a maximum, and workgroup memory for it.
alias ScratchValue = f32;

const WEIGHTS: u32 = 0u;
const PARTIALS: u32 = WORKGROUP_SIZE;

// The target of a row that does not count. `IGNORED` in `gpt-runtime/src/engine/mod.rs` is equal.
const IGNORED: u32 = 0xffffffffu;

var<workgroup> scratch: array<ScratchValue, 2u * WORKGROUP_SIZE>;

@group(1) @binding(0) var<storage, read_write> logits: array<f32>;
@group(1) @binding(1) var<storage, read> targets: array<u32>;
@group(1) @binding(2) var<storage, read_write> losses: array<f32>;

fn work(group: vec3<u32>, invocation: u32) {
    let row = pass_uniform.first + group.y;
    let start = group.y * VOCAB_STRIDE;
    let target_token = targets[row];
    let counts = target_token != IGNORED;
    if invocation == 0u && !counts {
        losses[row] = 0.0;
    }
    var own = -3.4e38;
    for (var i = invocation; i < VOCAB; i += WORKGROUP_SIZE) {
        own = max(own, logits[start + i]);
    }
    let maximum = workgroup_max(invocation, own);
    var sum = 0.0;
    for (var i = invocation; i < VOCAB; i += WORKGROUP_SIZE) {
        sum += exp(max(logits[start + i] - maximum, -87.0));
    }
    sum = row_sum(invocation, sum);
    for (var i = invocation; i < VOCAB; i += WORKGROUP_SIZE) {
        let own_logit = logits[start + i];
        let below = own_logit - maximum;
        var d = exp(max(below, -87.0)) / sum;
        if i == target_token {
            losses[row] = log(sum) - below;
            d -= 1.0;
        }
        // Not a factor of 0, whose product with an infinite slope is not a number.
        let gradient = d * logit_slope(own_logit) * pass_uniform.scale;
        logits[start + i] = select(0.0, gradient, counts);
    }
}
