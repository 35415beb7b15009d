// The sum of squares of a buffer of gradients. Each workgroup stores a sum, always of the same
// elements in the same order.

// Replaces the uniform of the step: where the sums are stored, and the number of quads.
struct Region {
    first: u32,
    quads: u32,
}

@group(0) @binding(1) var<uniform> region: Region;
@group(1) @binding(0) var<storage, read> gradients: array<vec4<f32>>;
@group(1) @binding(1) var<storage, read_write> square_sums: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    var own = vec4<f32>(0.0);
    for (var i = group.x * WORKGROUP_SIZE + invocation; i < region.quads; i += groups.x * WORKGROUP_SIZE) {
        own = fma(gradients[i], gradients[i], own);
    }
    let sum = row_sum(invocation, own.x + own.y + (own.z + own.w));
    if invocation == 0u {
        square_sums[region.first + group.x] = sum;
    }
}
