// No other step has read the stream: its gradient is that of the norm.

fn dy_residual(at: u32) -> f32 {
    return 0.0;
}

fn dx_residual(at: u32) -> f32 {
    return 0.0;
}
