// The greatest of all invocations' scores, through the workgroup's memory.

const LANES: u32 = 64u;

// As many queries as go together.
alias Queries = vec4<f32>;

var<workgroup> weights: array<Queries, LANES>;
var<workgroup> some: array<Queries, LANES>;
// ---- end of parameters ----

// The greatest of all invocations' scores, for all of them.
fn lanes_maximum(lane: u32, own: Queries) -> Queries {
    weights[lane] = own;
    workgroupBarrier();
    if lane < 16u {
        var greatest = own;
        for (var i = 1u; i < LANES / 16u; i++) {
            greatest = max(greatest, weights[i * 16u + lane]);
        }
        some[lane] = greatest;
    }
    workgroupBarrier();
    var greatest = some[0];
    for (var i = 1u; i < 16u; i++) {
        greatest = max(greatest, some[i]);
    }
    return greatest;
}
