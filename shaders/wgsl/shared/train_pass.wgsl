// The uniforms of a training pass and of one of its steps.

struct TrainPassUniform {
    // Tokens of a sequence: row r is at position r % tokens.
    tokens: u32,
    // Rows of the step: all rows of the pass, or a range of them.
    rows: u32,
    // The row of the pass at which the range begins.
    first: u32,
    // Whether gradients are replaced, not accumulated.
    replace: u32,
    // Factor of each row's loss gradient.
    scale: f32,
    // Dropout: the key of the hash.
    key: u32,
    // An element whose hash is below this is dropped.
    threshold: u32,
    // The factor of elements that are kept.
    keep: f32,
}

struct StepUniform {
    // The first row of the part of a matrix that the step works on.
    first: u32,
    // The rows of this part.
    rows: u32,
    // In a gated MLP, the row of the second binding where the half after the gate begins. In a sum
    // over the rows of a matrix, the row of the binding where this part begins.
    binding_row: u32,
    // The dropout site: four times the layer, plus the place in the layer.
    site: u32,
    // Whether to add to the output of an earlier part.
    adds: u32,
}

@group(0) @binding(0) var<uniform> pass_uniform: TrainPassUniform;
@group(0) @binding(1) var<uniform> step_uniform: StepUniform;

fn sequence_length() -> u32 {
    return pass_uniform.tokens;
}
