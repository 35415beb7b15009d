// The four columns of an invocation are neighbours.

fn epilogue(row: u32, owner: u32, values: vec4<f32>) {
    store_quad(row, owner * 4u, values);
}
