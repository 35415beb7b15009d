// x = drop(embedding of the token, plus that of its position), a row to a workgroup. Of a table in parts each part makes the rows of its own tokens.

@group(1) @binding(0) var<storage, read> tokens: array<u32>;
@group(1) @binding(1) var<storage, read> table: array<f32>;
@group(1) @binding(4) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let row = group.y;
    let token = tokens[row] - step_uniform.first;
    // What comes before the part wraps around, far beyond it.
    if token >= step_uniform.rows {
        return;
    }
    for (var i = invocation; i < EMBED; i += WORKGROUP_SIZE) {
        let value = table[token * EMBED + i] + position(row % pass_uniform.tokens, i);
        x[row * EMBED_STRIDE + i] = dropout_scale(row * EMBED + i) * value;
    }
}
