// A residual is taken from the norm's input: its gradient is added to the norm's.

fn dx_residual(at: u32) -> f32 {
    return out[at];
}
