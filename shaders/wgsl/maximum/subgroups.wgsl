// The greatest of all invocations' scores: each subgroup finds its own without memory, and what the subgroups have goes through memory once. Between two calls the
// caller has a barrier, so that nobody writes where somebody may still read.

const LANES: u32 = 64u;

// As many queries as go together.
alias Queries = vec4<f32>;

struct Subgroup { number: u32, count: u32, lane: u32, size: u32 }

var<private> subgroup: Subgroup;
var<workgroup> some: array<Queries, LANES>;
// ---- end of parameters ----

// The greatest of all invocations' scores, for all of them.
fn lanes_maximum(lane: u32, own: Queries) -> Queries {
    var greatest = subgroupMax(own);
    if subgroup.lane == 0u {
        some[subgroup.number] = greatest;
    }
    workgroupBarrier();
    for (var i = subgroup.lane; i < subgroup.count; i += subgroup.size) {
        greatest = max(greatest, some[i]);
    }
    return subgroupMax(greatest);
}
