// delta = sum(a da) for each query and head: the term that softmax's gradient subtracts. A
// workgroup computes a row.

@group(1) @binding(0) var<storage, read> a: array<f32>;
@group(1) @binding(1) var<storage, read> da: array<f32>;
@group(1) @binding(4) var<storage, read_write> delta: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    for (var head = invocation; head < HEADS; head += WORKGROUP_SIZE) {
        let at = group.y * A_STRIDE + head * HEAD_DIM;
        var sum = 0.0;
        for (var i = 0u; i < HEAD_DIM; i++) {
            sum = fma(a[at + i], da[at + i], sum);
        }
        delta[group.y * HEADS + head] = sum;
    }
}
