// What changes from one forward pass to the next.

struct PassUniform {
    // Position of the first token in its sequence.
    position: u32,
    // Tokens that go through the model together; 0 where a text has ended and what was submitted beyond its end has nothing to do.
    rows: u32,
    // The row of the input that is row 0 here: the head may start later than its input.
    first: u32,
}

@group(0) @binding(0) var<uniform> pass_uniform: PassUniform;
