// x = drop(EMBEDDING_SCALE * token embedding + position embedding + type embedding). A workgroup
// computes a row. With a table in parts, the kernel runs once for each part and writes the rows of
// the part's tokens.

@group(1) @binding(0) var<storage, read> tokens: array<u32>;
@group(1) @binding(1) var<storage, read> table: array<f32>;
@group(1) @binding(4) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let row = group.y;
    let token = tokens[row] - step_uniform.first;
    // For a token before this part the difference wraps around, far beyond the part's last row.
    if token >= step_uniform.rows {
        return;
    }
    for (var i = invocation; i < EMBED; i += WORKGROUP_SIZE) {
        let added = position_embedding(row % pass_uniform.tokens, i) + type_embedding(i);
        let value = EMBEDDING_SCALE * table[token * EMBED + i] + added;
        out[row * EMBED_STRIDE + i] = dropout_scale(row * EMBED + i) * value;
    }
}
