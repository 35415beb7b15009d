// The sums of an invocation: sixteen rows of four features, since reads are the bottleneck. For
// each step of the depth the invocation reads sixteen inputs and four weights, and multiplies every
// input by every weight. Sixteen rows are a 4 x 4 matrix only because WGSL scales and adds such
// matrices.

alias Rows = mat4x4<f32>;

struct Sums {
    a: Rows,
    b: Rows,
    c: Rows,
    d: Rows,
}

// Adds the products of sixteen rows with four elements of the other operand.
fn add_products(sums: Sums, by: vec4<f32>, rows: Rows) -> Sums {
    return Sums(sums.a + by.x * rows, sums.b + by.y * rows, sums.c + by.z * rows, sums.d + by.w * rows);
}
