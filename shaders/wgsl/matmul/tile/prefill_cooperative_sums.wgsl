// The sums of a subgroup, in cooperative matrices: two subgroups of 32, one for the even strips of
// a workgroup and one for the odd ones, each with eight sums of sixteen rows and sixteen features.
// A workgroup computes the same tile as with `matmul/tile/prefill_sums` and eight strips.

alias Sum = coop_mat16x16<f32, C>;

// Two sums for each strip of the subgroup.
var<private> a_0: Sum;
var<private> a_1: Sum;
var<private> b_0: Sum;
var<private> b_1: Sum;
var<private> c_0: Sum;
var<private> c_1: Sum;
var<private> d_0: Sum;
var<private> d_1: Sum;

// The sums stay in the private variables.
struct Sums { nothing: u32 }

// [feature of the iteration][row].
var<workgroup> shared_sums: array<f32, 64u * 16u>;

fn store_pair(first: Sum, second: Sum) {
    let at = subgroup.number * 32u * 16u;
    coopStore(first, &shared_sums[at], 16u);
    coopStore(second, &shared_sums[at + 256u], 16u);
}

// Stores the features of iteration `iteration` where `output_sum` reads them.
fn store_sums(sums: Sums, iteration: u32, invocation: u32) {
    workgroupBarrier();
    if iteration == 0u {
        store_pair(a_0, a_1);
    } else if iteration == 1u {
        store_pair(b_0, b_1);
    } else if iteration == 2u {
        store_pair(c_0, c_1);
    } else {
        store_pair(d_0, d_1);
    }
    workgroupBarrier();
}

// Feature `local` of the iteration, for row `r` of the tile.
fn output_sum(r: u32, local: u32) -> f32 {
    return shared_sums[local * 16u + r];
}
