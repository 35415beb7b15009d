// The loss of a row of logits, -ln softmax(logits)[target], and its gradient in their place: what was predicted, less what came.

const VOCAB: u32 = 50257u;
const VOCAB_STRIDE: u32 = 50288u;
const LANES: u32 = 256u;

struct Run { tokens: u32, rows: u32, first: u32, replace: u32, scale: f32, key: u32, threshold: u32, keep: f32 }
@group(0) @binding(0) var<uniform> run: Run;

var<workgroup> lanes: array<f32, LANES>;

fn lanes_sum(lane: u32, value: f32) -> f32 {
    return value;
}
// ---- end of parameters ----

@group(1) @binding(0) var<storage, read_write> logits: array<f32>;
@group(1) @binding(1) var<storage, read> targets: array<u32>;
@group(1) @binding(2) var<storage, read_write> losses: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
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
    sum = lanes_sum(lane, sum);
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

fn lanes_maximum(lane: u32, value: f32) -> f32 {
    lanes[lane] = value;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            lanes[lane] = max(lanes[lane], lanes[lane + half]);
        }
    }
    workgroupBarrier();
    let greatest = lanes[0];
    workgroupBarrier();
    return greatest;
}
