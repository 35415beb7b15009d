// What changes from one training pass to the next, and what a step of a pass is told about itself.

struct TrainPassUniform {
    // Of each sequence. Row r stands at position r % tokens.
    tokens: u32,
    // Rows that the step runs for: all of them, or those of a chunk, whose first one is row `first` of the pass.
    rows: u32,
    first: u32,
    // Whether gradients are replaced, not added to.
    replace: u32,
    // What the gradient of each row's loss is multiplied with.
    scale: f32,
    // The masks of this pass: their key, below which hash an element is left out, by what the others are multiplied.
    key: u32,
    threshold: u32,
    keep: f32,
}

struct StepUniform {
    // The part of a matrix that the step works on: its first row, and how many there are.
    first: u32,
    rows: u32,
    // Row of the second binding at which the half begins that a gate lets through. Of a depth that is worked on in pieces, the row of the binding
    // where this one begins.
    second: u32,
    // Layer and place of the mask: four times the one plus the other.
    site: u32,
    // Whether an earlier part has left something to add to.
    adds: u32,
}

@group(0) @binding(0) var<uniform> pass_uniform: TrainPassUniform;
@group(0) @binding(1) var<uniform> step_uniform: StepUniform;
