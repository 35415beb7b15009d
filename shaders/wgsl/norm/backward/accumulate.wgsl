// The stream goes on past the norm: what comes back along it is added.

fn dy_residual(at: u32) -> f32 {
    return 0.0;
}

fn dx_residual(at: u32) -> f32 {
    return out[at];
}
