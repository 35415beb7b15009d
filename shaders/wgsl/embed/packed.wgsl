// x = EMBEDDING_SCALE * token embedding + position embedding + type embedding. An invocation
// computes four columns of a row.

@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<storage, read> tokens: array<u32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let row = group.y;
    let at = group.x * WORKGROUP_SIZE + invocation;
    if pass_uniform.rows == 0u || at >= QUADS {
        return;
    }
    // The table has the layout of a matrix: the head may share it.
    let values = quad(load(tokens[row], at / BLOCK_QUADS), at % BLOCK_QUADS);
    for (var j = 0u; j < 4u; j++) {
        let column = 4u * at + j;
        if column < EMBED {
            let added = position_embedding(pass_uniform.position + row, column) + type_embedding(column);
            out[row * EMBED + column] = EMBEDDING_SCALE * values[j] + added;
        }
    }
}
