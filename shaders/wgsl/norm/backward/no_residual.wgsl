// No residual is taken from the norm's input or output.

fn dy_residual(at: u32) -> f32 {
    return 0.0;
}

fn dx_residual(at: u32) -> f32 {
    return 0.0;
}
