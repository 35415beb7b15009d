// d(table)[token] += EMBEDDING_SCALE * dx. An invocation owns one column of the table, for the
// tokens with one remainder modulo REMAINDERS, and adds the rows of dx in order. So two rows with
// the same token never race, and their sum is the same in every run.

@group(1) @binding(0) var<storage, read> tokens: array<u32>;
@group(1) @binding(1) var<storage, read> dx: array<f32>;
@group(1) @binding(2) var<storage, read_write> d_table: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let column = group.x * WORKGROUP_SIZE + invocation;
    if column >= EMBED {
        return;
    }
    for (var row = 0u; row < pass_uniform.rows; row++) {
        let token = tokens[row] - step_uniform.first;
        if token < step_uniform.rows && token % REMAINDERS == group.y {
            d_table[token * EMBED + column] += EMBEDDING_SCALE * dx[row * EMBED_STRIDE + column];
        }
    }
}
