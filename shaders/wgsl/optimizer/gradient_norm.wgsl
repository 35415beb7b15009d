// The sum of the squares of a buffer of gradients: as many sums as there are workgroups, each always of the same elements in the same order.

// In the place of `Step`: where the sums go, and how many quads there are.
struct Piece {
    first: u32,
    quads: u32,
}

@group(0) @binding(1) var<uniform> piece: Piece;
@group(1) @binding(0) var<storage, read> gradients: array<vec4<f32>>;
@group(1) @binding(1) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    var own = vec4<f32>(0.0);
    for (var i = group.x * LANES + lane; i < piece.quads; i += groups.x * LANES) {
        own = fma(gradients[i], gradients[i], own);
    }
    let sum = row_sum(lane, own.x + own.y + (own.z + own.w));
    if lane == 0u {
        sums[piece.first + group.x] = sum;
    }
}
