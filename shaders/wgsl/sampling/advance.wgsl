// Feeds the sampled token to the next pass, at the next position. After a token that ends the text,
// the passes that are already submitted get no rows, and do nothing.

struct PassUniform { position: u32, rows: u32, first: u32 }

// The uniforms of a pass and of its head, which this step writes.
@group(0) @binding(0) var<storage, read_write> pass_uniform: PassUniform;
@group(0) @binding(6) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(7) var<storage, read_write> sampled: array<u32>;
@group(0) @binding(8) var<storage, read_write> head_pass_uniform: PassUniform;

var<workgroup> rows: u32;

// Whether the pass has a row to sample after.
fn pass_is_active(invocation: u32) -> bool {
    if invocation == 0u {
        rows = pass_uniform.rows;
    }
    return workgroupUniformLoad(&rows) != 0u;
}

fn advance(token: u32) {
    sampled[pass_uniform.position] = token;
    tokens[0] = token;
    var next = 1u;
    for (var i = 0u; i < 4u; i++) {
        if any(sampling.stops[i] == vec4<u32>(token)) {
            next = 0u;
        }
    }
    pass_uniform.position += 1u;
    pass_uniform.rows = next;
    head_pass_uniform.rows = next;
}
