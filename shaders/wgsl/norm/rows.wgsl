// The norm of rows that are not the stream: the embedding, or the output of attention or MLP. Its
// output becomes the stream, or is added to it. A workgroup computes a row.

@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<storage, read> activations: array<f32>;

fn stream(row: u32, column: u32) -> f32 {
    return activations[row * EMBED + column];
}

fn work(group: vec3<u32>, invocation: u32) {
    if group.y >= pass_uniform.rows {
        return;
    }
    let own = statistics(group.y, EMBED, invocation);
    for (var i = invocation; i < EMBED; i += WORKGROUP_SIZE) {
        let normal = normalized(stream(group.y, i), own, vec2<f32>(gamma(i), beta(i)));
        out[group.y * EMBED + i] = with_residual(group.y, i, normal);
    }
}
