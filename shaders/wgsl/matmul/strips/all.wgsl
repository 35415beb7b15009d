// A kernel multiplies all strips of its matrix.

const LAST_STRIP: u32 = STRIPS - 1u;
const FIRST_FEATURE: u32 = 0u;
const END_FEATURE: u32 = OUTPUTS;
