// The greatest of all invocations' values: each subgroup finds its own without memory, and what the subgroups have goes through memory once. Between two calls the
// caller has a barrier, so that nobody writes where somebody may still read.

// As many queries as go together.
alias Queries = vec4<f32>;

struct Subgroup { number: u32, count: u32, lane: u32, size: u32 }

var<private> subgroup: Subgroup;

// A place of workgroup memory for each subgroup.
const SOME: u32 = 64u;

var<workgroup> memory: array<Queries, 128>;
// ---- end of parameters ----

// The greatest of all invocations' values, for all of them.
fn lanes_maximum(lane: u32, own: Queries) -> Queries {
    var greatest = subgroupMax(own);
    if subgroup.lane == 0u {
        memory[SOME + subgroup.number] = greatest;
    }
    workgroupBarrier();
    for (var i = subgroup.lane; i < subgroup.count; i += subgroup.size) {
        greatest = max(greatest, memory[SOME + i]);
    }
    return subgroupMax(greatest);
}
