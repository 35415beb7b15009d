// One row of inputs: a matrix times a vector, for each new token. No element of the matrix is used
// twice, so a tile saves no reads of weights. SLICES invocations share a dot product, so that more
// reads are in flight, and each computes TILE_N features, so that an input is read once for all of
// them.

const STAGED_BLOCKS: u32 = min((SCRATCH_FLOATS - TILE_N * WORKGROUP_SIZE - 32u) / (BLOCK_QUADS * 4u), BLOCKS);

// An element of `scratch` has four columns. Eight elements are read together, so there are eight
// spare elements at the end.
alias ScratchValue = vec4<f32>;
const SCRATCH_SIZE: u32 = STAGED_BLOCKS * BLOCK_QUADS + 8u;

var<workgroup> scratch: array<ScratchValue, SCRATCH_SIZE>;

fn multiply(first: u32, strip: u32, invocation: u32) -> Sums {
    let slice = slice_of(invocation);
    let own = row_of(invocation);
    var sums = Sums();
    for (var start = 0u; start < BLOCKS; start += STAGED_BLOCKS) {
        workgroupBarrier();
        for (var i = invocation; i < STAGED_BLOCKS * BLOCK_QUADS; i += WORKGROUP_SIZE) {
            scratch[i] = input_quad(first, 4u * (start * BLOCK_QUADS + i));
        }
        workgroupBarrier();
        let end = min(STAGED_BLOCKS, BLOCKS - start);
        for (var b = slice * SLICE_BLOCKS; b < min(end, (slice + 1u) * SLICE_BLOCKS); b++) {
            var blocks: array<Block, TILE_N>;
            for (var i = 0u; i < TILE_N; i++) {
                blocks[i] = load_strip(strip + i, own, start + b);
            }
            let columns = shared_read(b * BLOCK_QUADS);
            for (var step = 0u; step < BLOCK_QUADS; step++) {
                // Slices start at different columns, whose inputs are in different memory banks.
                let j = (step + slice) % BLOCK_QUADS;
                let inputs = shared_value(columns, j);
                for (var i = 0u; i < TILE_N; i++) {
                    sums[i] += dot(quad(blocks[i], j), inputs);
                }
            }
        }
    }
    return sums;
}
