// A residual is taken from the norm's output: its gradient passes through the norm, too.

fn dy_residual(at: u32) -> f32 {
    return out[at];
}

fn dx_residual(at: u32) -> f32 {
    return 0.0;
}
