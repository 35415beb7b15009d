// A token is chosen: it becomes the next pass's input, a position further on. After one that ends the text the passes that were submitted beyond it
// have no rows, and so nothing to do.

struct Run { position: u32, rows: u32, first: u32 }

// The numbers of a pass, and of its head.
@group(0) @binding(0) var<storage, read_write> run: Run;
@group(0) @binding(6) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(7) var<storage, read_write> drawn: array<u32>;
@group(0) @binding(8) var<storage, read_write> head_run: Run;

var<workgroup> rows: u32;

// Whether there is a pass to choose after.
fn awake(lane: u32) -> bool {
    if lane == 0u {
        rows = run.rows;
    }
    return workgroupUniformLoad(&rows) != 0u;
}

fn advance(token: u32) {
    drawn[run.position] = token;
    tokens[0] = token;
    var next = 1u;
    for (var i = 0u; i < 4u; i++) {
        if any(sampling.stops[i] == vec4<u32>(token)) {
            next = 0u;
        }
    }
    run.position += 1u;
    run.rows = next;
    head_run.rows = next;
}
