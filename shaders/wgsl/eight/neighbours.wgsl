// Eight neighbouring elements of workgroup memory, the same for eight neighbouring invocations: each reads one of them, and has the others from its neighbours, without
// memory. A subgroup has at least eight invocations, and all eight neighbours come here together.

const ROOM: u32 = 192u;

// What workgroup memory holds.
alias Shared = vec4<f32>;

struct Subgroup { number: u32, count: u32, lane: u32, size: u32 }

var<private> subgroup: Subgroup;
var<workgroup> memory: array<Shared, ROOM>;
// ---- end of parameters ----

struct Eight { own: Shared }

// Elements `first ..`.
fn eight(first: u32) -> Eight {
    return Eight(memory[first + subgroup.lane % 8u]);
}

fn of_eight(eight: Eight, j: u32) -> Shared {
    return subgroupShuffle(eight.own, subgroup.lane / 8u * 8u + j);
}
