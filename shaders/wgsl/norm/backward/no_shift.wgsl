// The norm does not shift.

fn keep_shift(column: u32, sum: f32) {}
