// The two quads of columns that an invocation has are written one by one.

fn write(row: u32, column: u32, values: vec4<f32>) {}
// ---- end of parameters ----

fn finish(row: u32, tile: u32, quad: u32, low: vec4<f32>, high: vec4<f32>) {
    write(row, tile * 64u + quad * 4u, low);
    write(row, tile * 64u + 32u + quad * 4u, high);
}
