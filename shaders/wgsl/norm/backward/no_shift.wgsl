// The norm does not shift.

fn store_shift(column: u32, sum: f32) {}
