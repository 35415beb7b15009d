// One row of inputs: a matrix times a vector, as each new token needs it. The matrix is read once, so nothing is gained by more rows;
// the invocations of a workgroup rather share each dot product, SLICES to a feature, so that more reads are under way, and make STRIPS
// features each, so that an input that was read serves as many.

// Those that share a norm; outputs, which come in one turn; and blocks of a filling of the tile.
const SHARE: u32 = LANES;
const TURNS: u32 = 1u;
const FEATURES: u32 = STRIPS * 32u / HALVES;
const CHUNK_BLOCKS: u32 = min((MEMORY - STRIPS * LANES - 32u) / (BLOCK_QUADS * 4u), BLOCKS);

const SLICE_BLOCKS: u32 = (CHUNK_BLOCKS + SLICES - 1u) / SLICES;

alias Sums = array<f32, STRIPS>;

// Four columns each; and room for what is read with the last of them.
alias Shared = vec4<f32>;
const ROOM: u32 = CHUNK_BLOCKS * BLOCK_QUADS + 8u;

var<workgroup> memory: array<Shared, ROOM>;
// [feature / 32][slice][feature % 32].
var<workgroup> shared_sums: array<f32, STRIPS * LANES>;

fn input_at(first: u32, column: u32) -> f32 {
    return input(0u, first, column, affine(column));
}

// Eight neighbours have the rows of a panel, and the next eight the blocks that follow theirs: so a workgroup reads panels from beginning to end.
fn slice_of(lane: u32) -> u32 {
    return lane / 8u % SLICES;
}

// Which row of a strip.
fn row_of(lane: u32) -> u32 {
    return lane / (8u * SLICES) * 8u + lane % 8u;
}

fn multiply(first: u32, strip: u32, lane: u32) -> Sums {
    let slice = slice_of(lane);
    let own = row_of(lane);
    var sums = Sums();
    for (var start = 0u; start < BLOCKS; start += CHUNK_BLOCKS) {
        workgroupBarrier();
        for (var i = lane; i < CHUNK_BLOCKS * BLOCK_QUADS; i += LANES) {
            let column = 4u * (start * BLOCK_QUADS + i);
            memory[i] = Shared(
                input_at(first, column),
                input_at(first, column + 1u),
                input_at(first, column + 2u),
                input_at(first, column + 3u),
            );
        }
        workgroupBarrier();
        let end = min(CHUNK_BLOCKS, BLOCKS - start);
        for (var b = slice * SLICE_BLOCKS; b < min(end, (slice + 1u) * SLICE_BLOCKS); b++) {
            // A strip that does not exist is the last one once more, and its sums are dropped.
            var blocks: array<Block, STRIPS>;
            for (var i = 0u; i < STRIPS; i++) {
                blocks[i] = load(32u * min(strip + i, LAST_STRIP) + own, start + b);
            }
            let columns = eight(b * BLOCK_QUADS);
            for (var step = 0u; step < BLOCK_QUADS; step++) {
                // Slices begin at different columns, whose inputs lie in different banks of memory.
                let j = (step + slice) % BLOCK_QUADS;
                let inputs = of_eight(columns, j);
                for (var i = 0u; i < STRIPS; i++) {
                    sums[i] += dot(quad(blocks[i], j), inputs);
                }
            }
        }
    }
    return sums;
}

// Puts all features where `total` finds them; there is one turn.
fn share(sums: Sums, turn: u32, lane: u32) {
    for (var i = 0u; i < STRIPS; i++) {
        shared_sums[i * LANES + slice_of(lane) * 32u + row_of(lane)] = sums[i];
    }
    workgroupBarrier();
}

// Feature `local` of the workgroup.
fn total(r: u32, local: u32) -> f32 {
    var sum = 0.0;
    for (var slice = 0u; slice < SLICES; slice++) {
        sum += shared_sums[local / 32u * LANES + slice * 32u + local % 32u];
    }
    return sum;
}
