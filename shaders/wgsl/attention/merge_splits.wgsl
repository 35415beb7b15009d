// a = what the parts of the keys gathered for a head, each shrunk by e^(its maximum - the greatest), over the sum of the weights. An invocation makes a
// column. One token: the keys are those up to its position.

@group(0) @binding(1) var<storage, read> parts: array<f32>;
@group(0) @binding(2) var<storage, read_write> a: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if run.rows == 0u || lane >= HEAD_DIM {
        return;
    }
    let start = group.x * (HEAD_DIM + 2u);
    let step = HEADS * (HEAD_DIM + 2u);
    let end = start + (run.position + PART) / PART * step;
    var greatest = parts[start + HEAD_DIM];
    for (var at = start + step; at < end; at += step) {
        greatest = max(greatest, parts[at + HEAD_DIM]);
    }
    var gathered = 0.0;
    var sum = 0.0;
    for (var at = start; at < end; at += step) {
        let shrink = exp(max(parts[at + HEAD_DIM] - greatest, -87.0));
        gathered = fma(parts[at + lane], shrink, gathered);
        sum = fma(parts[at + HEAD_DIM + 1u], shrink, sum);
    }
    a[group.x * HEAD_DIM + lane] = gathered / sum;
}
