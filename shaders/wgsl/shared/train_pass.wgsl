// The uniforms of a training pass and of one of its steps.

struct TrainPassUniform {
    // Tokens of a sequence: row r is at position r % tokens.
    tokens: u32,
    // Rows of the step: all of the pass, or those of a chunk that begins at its row `first`.
    rows: u32,
    first: u32,
    // Whether gradients are replaced, not accumulated.
    replace: u32,
    // Factor of each row's loss gradient.
    scale: f32,
    // Dropout: the key of the hash, the threshold below which a hash drops its element, and the
    // factor of elements that are kept.
    key: u32,
    threshold: u32,
    keep: f32,
}

struct StepUniform {
    // The part of a matrix that the step works on: its first row, and its rows.
    first: u32,
    rows: u32,
    // Gated MLP: the row of the second binding where the half after the gate begins. A depth that
    // is split: the row of the binding where this part begins.
    second: u32,
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
