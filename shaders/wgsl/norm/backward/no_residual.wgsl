// No residual connection reads the norm's input.

fn dx_residual(at: u32) -> f32 {
    return 0.0;
}
