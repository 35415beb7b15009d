// d_up = dh times the slopes, once for the gate and once for the gated half.

fn store_quad(row: u32, column: u32, values: vec4<f32>) {
    // Each half is padded with zeros.
    if column < 4u * HALF_QUADS {
        let at = row * SLOPE_QUADS + column / 4u;
        let d = zero_padding(column, values);
        d_up[at] = through_slopes(at, d);
        d_up[at + HALF_QUADS] = through_slopes(at + HALF_QUADS, d);
    }
}
