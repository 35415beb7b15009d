// The rows of the matrix that an invocation of a prefill tile owns, and the exchange of its sums.

// The distance from one strip of an invocation to the next, in strips.
const APART: u32 = WORKGROUP_SIZE / 32u;

// The rows of the matrix that an invocation owns. A strip beyond the last is clamped to it; the
// result is discarded.
fn own_rows(strip: u32, invocation: u32) -> vec4<u32> {
    let own = vec4<u32>(strip + invocation / 32u) + APART * vec4<u32>(0u, 1u, 2u, 3u);
    return 32u * min(own, vec4<u32>(LAST_STRIP)) + invocation % 32u;
}

// Stores the features of iteration `iteration` where `output_sum` reads them: in workgroup memory,
// which may still hold staged inputs.
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

// Feature `local` of the iteration, for row `r` of the tile.
fn output_sum(r: u32, local: u32) -> f32 {
    return tile[local][r / 4u][r % 4u];
}
