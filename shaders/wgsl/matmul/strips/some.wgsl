// A kernel multiplies some strips of a matrix whose parts have several formats: the strips in its
// own format, which fill the matrix that it binds. The engine sets the range when it builds a
// pipeline.

// The last strip of the part.
override LAST_STRIP: u32 = STRIPS - 1u;
// The first output feature of the part, and the end.
override FIRST_FEATURE: u32 = 0u;
override END_FEATURE: u32 = OUTPUTS;
