// The uniform of a forward pass.

struct PassUniform {
    // Position of the first row in its sequence.
    position: u32,
    // Rows (tokens) of the pass; 0 if it was submitted beyond the end of a text, and does nothing.
    rows: u32,
    // Row of the input that is row 0 here: the head may skip rows.
    first: u32,
}

@group(0) @binding(0) var<uniform> pass_uniform: PassUniform;

fn sequence_length() -> u32 {
    return pass_uniform.position + pass_uniform.rows;
}
