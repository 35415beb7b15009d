// The stream ends here: its gradient begins with what the norm returns.

fn dy_residual(at: u32) -> f32 {
    return 0.0;
}

fn dx_residual(at: u32) -> f32 {
    return 0.0;
}
