// An invocation's sums. Reads are what costs, so it keeps 64 of them, sixteen rows of four features: of each column it reads four weights and sixteen inputs, and
// multiplies each with each. Sixteen rows are a 4 x 4 matrix here, whatever they mean: WGSL multiplies such a matrix by a number and adds it to another.

alias Rows = mat4x4<f32>;

struct Sums {
    a: Rows,
    b: Rows,
    c: Rows,
    d: Rows,
}

// Adds the products of sixteen rows with four of the other operand.
fn add_products(sums: Sums, by: vec4<f32>, rows: Rows) -> Sums {
    return Sums(sums.a + by.x * rows, sums.b + by.y * rows, sums.c + by.z * rows, sums.d + by.w * rows);
}

// From one of an invocation's strips to the next.
const APART: u32 = WORKGROUP_SIZE / 32u;

// The rows of the matrix that are an invocation's. A strip that does not exist is the last one once more, and its sums are dropped.
fn own_rows(strip: u32, invocation: u32) -> vec4<u32> {
    let own = vec4<u32>(strip + invocation / 32u) + APART * vec4<u32>(0u, 1u, 2u, 3u);
    return 32u * min(own, vec4<u32>(LAST_STRIP)) + invocation % 32u;
}

// Puts the features of turn `turn` where `total` finds them: in workgroup memory, where inputs may have been.
fn store_sums(sums: Sums, iteration: u32, invocation: u32) {
    var own = sums.a;
    if iteration == 1u {
        own = sums.b;
    } else if iteration == 2u {
        own = sums.c;
    } else if iteration == 3u {
        own = sums.d;
    }
    workgroupBarrier();
    tile[invocation] = own;
    workgroupBarrier();
}

// Feature `local` of the turn, for row `r` of the tile.
fn output_sum(r: u32, local: u32) -> f32 {
    return tile[local][r / 4u][r % 4u];
}
