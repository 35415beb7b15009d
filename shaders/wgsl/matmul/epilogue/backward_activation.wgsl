// d_up = dh times the slopes of the activation.

fn store_quad(row: u32, column: u32, values: vec4<f32>) {
    if column < WIDTH {
        let at = row * SLOPE_QUADS + column / 4u;
        d_up[at] = through_slopes(at, zero_padding(column, values));
    }
}
