// The loss of a row of logits, -ln softmax(logits)[target], and its gradient in their place: what was predicted, less what came.

// What a maximum is found of, and workgroup memory for it.
alias Queries = f32;

const WEIGHTS: u32 = 0u;
const SOME: u32 = LANES;

var<workgroup> memory: array<Queries, 2u * LANES>;

@group(1) @binding(0) var<storage, read_write> logits: array<f32>;
@group(1) @binding(1) var<storage, read> targets: array<u32>;
@group(1) @binding(2) var<storage, read_write> losses: array<f32>;

fn work(group: vec3<u32>, lane: u32) {
    let row = run.first + group.y;
    let start = group.y * VOCAB_STRIDE;
    let came = targets[row];
    var own = -3.4e38;
    for (var i = lane; i < VOCAB; i += LANES) {
        own = max(own, logits[start + i]);
    }
    let greatest = lanes_maximum(lane, own);
    var sum = 0.0;
    for (var i = lane; i < VOCAB; i += LANES) {
        sum += exp(max(logits[start + i] - greatest, -87.0));
    }
    sum = row_sum(lane, sum);
    for (var i = lane; i < VOCAB; i += LANES) {
        let above = logits[start + i] - greatest;
        var d = exp(max(above, -87.0)) / sum;
        if i == came {
            losses[row] = log(sum) - above;
            d -= 1.0;
        }
        logits[start + i] = d * run.scale;
    }
}
