// All invocations of a workgroup share a row.

const ROW_INVOCATIONS: u32 = WORKGROUP_SIZE;

fn add_square(sum: f32, x: f32) -> f32 {
    return fma(x, x, sum);
}
