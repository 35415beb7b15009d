// The stream itself is what the norm shows: what comes back along it goes through the norm as well.

fn dy_residual(at: u32) -> f32 {
    return out[at];
}

fn dx_residual(at: u32) -> f32 {
    return 0.0;
}
