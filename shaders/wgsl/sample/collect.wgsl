// Lists every token that the cuts may leave, in whatever order invocations come: what reads the list does not depend on it.

const VOCAB: u32 = 50257u;
const TILE: u32 = 2048u;
const BINS: u32 = 512u;
const LANES: u32 = 256u;

struct Run { position: u32, rows: u32, first: u32 }
@group(0) @binding(0) var<uniform> run: Run;

struct Sampling { top_k: u32 }
@group(0) @binding(1) var<uniform> sampling: Sampling;

fn ordered(x: f32) -> u32 {
    return bitcast<u32>(x);
}

fn distance_below(order: u32, greatest: u32) -> u32 {
    return greatest - order;
}

fn top(lane: u32) -> vec2<u32> {
    return vec2<u32>(lane);
}

fn bin_of(distance: u32) -> u32 {
    return distance;
}

fn load_histogram(lane: u32) {}

fn bin_of_count(lane: u32, target_count: u32) -> u32 {
    return target_count;
}

fn last_listed(lane: u32, count_bin: u32) -> u32 {
    return count_bin;
}
// ---- end of parameters ----

@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(4) var<storage, read_write> histogram: array<atomic<u32>>;
@group(0) @binding(5) var<storage, read_write> listed: array<vec2<u32>>;

fn tally(i: u32) -> u32 {
    return atomicLoad(&histogram[i]);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if run.rows == 0u {
        return;
    }
    let greatest = top(lane).x;
    load_histogram(lane);
    let last = last_listed(lane, bin_of_count(lane, min(sampling.top_k, VOCAB)));
    for (var i = lane; i < TILE; i += LANES) {
        let token = group.x * TILE + i;
        if token < VOCAB {
            let distance = distance_below(ordered(logits[token]), greatest);
            if bin_of(distance) <= last {
                listed[atomicAdd(&histogram[2u * BINS], 1u)] = vec2<u32>(distance, token);
            }
        }
    }
}
