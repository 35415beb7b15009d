// The norm has no shift.

fn store_shift(column: u32, sum: f32) {}
